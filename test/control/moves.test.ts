import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Allocation, advance, intendedOwners, redirect, settle } from '../../src/control/moves.ts';
import { rowsOf } from '../../src/control/rows.ts';
import type { Row } from '../../src/dataplane/forwarding-table.ts';
import type { Ledger } from '../../src/wire/ledger.ts';

const hosts = { gone: (_name: string) => false, bootOf: (_name: string) => 1 };
const confirming = (programmed: (name: string) => number, routed = programmed) => ({ ...hosts, programmed, routed });
const settled: Allocation = { owners: ['a', 'a', 'b', 'b'], moves: [], nextMoveId: 1, holders: [], unfinished: false };
const moving = redirect(settled, ['a', 'b', 'b', 'b'], 2, hosts);
const left =
  advance(
    moving,
    3,
    confirming(() => 2),
  ) ?? settled;
const owned =
  advance(
    left,
    4,
    confirming(() => 3),
  ) ?? settled;
const done =
  advance(
    owned,
    5,
    confirming(() => 4),
  ) ?? settled;

const macs = { a: '02:00:00:00:00:0a', b: '02:00:00:00:00:0b', c: '02:00:00:00:00:0c' };

function ledgerWith(allocation: Allocation): Ledger {
  return {
    ...{ term: 1, epoch: 1, by: 'a', cause: '', members: ['a', 'b', 'c'], unhealthy: [], drained: [] },
    hosts: Object.entries(macs).map(([name, mac]) => ({ name, session: 1, boot: 1, mac })),
    ...{ policy: '', policyEpoch: 1, voters: [], formerVoters: [] },
    ...allocation,
  };
}

function row(allocation: Allocation, node: string, slot: number): Row | null {
  return rowsOf(ledgerWith(allocation), { node, boot: 1 }).get(slot) ?? null;
}

describe('a move', () => {
  test('is prepared first: the old owner takes everything still, and the new one relays to it', () => {
    expect(moving).toEqual({
      ...settled,
      moves: [{ id: 1, since: 2, phase: 'prepare', from: 'a', to: 'b', slots: [1] }],
      nextMoveId: 2,
    });
    expect(row(moving, 'a', 1)).toEqual({ kind: 'own', peer: null });
    expect(row(moving, 'b', 1)).toEqual({ kind: 'relay', peer: macs.a });
  });

  test('goes on when the kernels whose turn it is have confirmed, and not before', () => {
    expect(
      advance(
        moving,
        3,
        confirming(() => 1),
      ),
    ).toBe(null);
    expect(
      advance(
        moving,
        3,
        confirming((name) => (name === 'b' ? 9 : 0)),
      ),
    ).toBe(null);
    expect(
      advance(
        moving,
        3,
        confirming((name) => (name === 'a' ? 9 : 0)),
      ),
    ).toBe(null);
    expect(left).toMatchObject({ owners: settled.owners, moves: [{ id: 1, since: 3, phase: 'leave' }] });
    expect(
      advance(
        left,
        4,
        confirming((name) => (name === 'b' ? 9 : 2)),
      ),
    ).toBe(null);
    expect(owned).toMatchObject({ owners: ['a', 'b', 'b', 'b'], moves: [{ id: 1, since: 4, phase: 'owned' }] });
    expect(
      advance(
        owned,
        5,
        confirming((name) => (name === 'a' ? 9 : 3)),
      ),
    ).toBe(null);
    expect(done).toMatchObject({ owners: ['a', 'b', 'b', 'b'], moves: [], nextMoveId: 2 });
  });

  test('leaves only to what the new owner relays; then the new owner takes everything', () => {
    expect([row(left, 'a', 1), row(left, 'b', 1)]).toEqual([
      { kind: 'old', peer: macs.b },
      { kind: 'relay', peer: macs.a },
    ]);
    expect([row(owned, 'a', 1), row(owned, 'b', 1)]).toEqual([
      { kind: 'old', peer: macs.b },
      { kind: 'new', peer: null },
    ]);
    expect([row(done, 'a', 1), row(done, 'b', 1)]).toEqual([
      { kind: 'old', peer: null },
      { kind: 'new', peer: null },
    ]);
  });

  test('leaves its old owner a holder until that has no connection of it any more', () => {
    expect(done.holders).toEqual([{ name: 'a', boot: 1, since: 4, slots: [1] }]);
    expect(settle(done, () => false)).toBe(null);
    const ended = settle(done, ({ name }, slot) => name === 'a' && slot === 1) ?? done;
    expect(ended.holders).toEqual([]);
    expect([row(ended, 'a', 1), row(ended, 'b', 1)]).toEqual([null, { kind: 'own', peer: null }]);
  });

  test('back while the connections still drain makes the holder the owner, and the owner a holder', () => {
    const back = [3, 4, 5, 6].reduce<Allocation>(
      (from, epoch) =>
        advance(
          from,
          epoch + 3,
          confirming(() => 99),
        ) ?? from,
      redirect(done, settled.owners, 6, hosts),
    );
    expect(back.owners).toEqual(settled.owners);
    expect(back.holders).toMatchObject([{ name: 'b', slots: [1] }]);
    expect([row(back, 'a', 1), row(back, 'b', 1)]).toEqual([
      { kind: 'new', peer: null },
      { kind: 'old', peer: null },
    ]);
  });

  test('is given up before its new owner had it, and finished before it is turned back after', () => {
    for (const early of [moving, left]) {
      expect(redirect(early, settled.owners, 9, hosts)).toEqual({ ...settled, nextMoveId: 2 });
    }
    expect(redirect(owned, settled.owners, 9, hosts).moves).toEqual(owned.moves);
    expect(redirect(done, settled.owners, 9, hosts).moves).toMatchObject([
      { id: 2, phase: 'prepare', from: 'b', to: 'a' },
    ]);
  });

  test('that the new target wants too keeps its number', () => {
    const more = redirect(moving, ['b', 'b', 'b', 'b'], 3, hosts);
    expect(more.moves.map(({ id, slots }) => [id, slots])).toEqual([
      [1, [1]],
      [2, [0]],
    ]);
  });

  test('from an owner that is gone happens at once, and its host may go on with what it has', () => {
    const taken = redirect(settled, ['a', 'a', 'a', 'a'], 2, { ...hosts, gone: (name) => name === 'b' });
    expect(taken).toMatchObject({
      owners: ['a', 'a', 'a', 'a'],
      moves: [{ phase: 'owned', from: 'b', to: 'a' }],
      holders: [{ name: 'b', since: 2, slots: [2, 3] }],
    });
  });

  test('under way counts as done when the next plan is made', () => {
    expect(intendedOwners(moving, ['a', 'b'])).toEqual(['a', 'b', 'b', 'b']);
    expect(intendedOwners(moving, ['a'])).toEqual(['a', 'a', null, null]);
  });

  test('another life of a machine holds nothing of what this one held', () => {
    expect(rowsOf(ledgerWith(done), { node: 'a', boot: 2 }).get(1)).toBe(undefined);
  });
});

test('whatever is wanted, gone and confirmed, in any order: one host takes a slot, and no holder owns it', () => {
  const name = fc.constantFrom('a', 'b', 'c');
  const step = fc.record({
    target: fc.array(name, { minLength: 4, maxLength: 4 }),
    gone: fc.option(name, { freq: 6 }),
    confirmed: fc.subarray(['a', 'b', 'c']),
    redirects: fc.boolean(),
    drained: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let now: Allocation = settled;
      for (const [i, { target, gone, confirmed, redirects, drained }] of steps.entries()) {
        const world = { ...hosts, gone: (each: string) => each === gone };
        const wanted = target.map((each) =>
          each === gone ? (['a', 'b', 'c'].find((other) => other !== gone) ?? 'a') : each,
        );
        if (redirects) now = redirect(now, wanted, i + 2, world);
        const programmed = (each: string): number => (confirmed.includes(each) ? 99 : 0);
        now = advance(now, i + 2, { ...world, programmed, routed: programmed }) ?? now;
        if (drained) now = settle(now, () => true) ?? now;
        for (const [slot, owner] of now.owners.entries()) {
          const rows = ['a', 'b', 'c'].map((node) => row(now, node, slot));
          expect(rows.filter((each) => each?.kind === 'own' || each?.kind === 'new').length).toBeLessThanOrEqual(1);
          const leaving = now.moves.some(({ phase, slots }) => phase === 'leave' && slots.includes(slot));
          if (owner !== null && !leaving) expect(['own', 'new']).toContain(row(now, owner, slot)?.kind);
          expect(now.holders.some((holder) => holder.name === owner && holder.slots.includes(slot))).toBe(false);
          if (rows.some((each) => each?.kind === 'old')) expect(rows.some((each) => each?.kind === 'own')).toBe(false);
        }
      }
    }),
  );
});
