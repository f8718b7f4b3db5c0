import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareVersions, decodeLedger, encodeLedger, type Ledger, ledgerBytesMax } from '../../src/wire/ledger.ts';

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/);
const u48 = fc.nat(2 ** 48 - 2);

/** Any ledger: members ascending, every slot in at most one move, slots of a move ascending. */
const ledger: fc.Arbitrary<Ledger> = fc
  .record({
    names: fc.uniqueArray(name, { minLength: 1, maxLength: 8 }),
    slotBits: fc.nat(7),
    picks: fc.array(fc.nat(100), { minLength: 128, maxLength: 128 }),
    moveOf: fc.array(fc.nat(6), { minLength: 128, maxLength: 128 }),
    numbers: fc.tuple(u48, u48, u48, u48),
    texts: fc.tuple(fc.string({ maxLength: 40 }), fc.string({ maxLength: 200 })),
  })
  .map(({ names, slotBits, picks, moveOf, numbers, texts }) => {
    const slots = Array.from({ length: 1 << slotBits }, (_, slot) => slot);
    const nameAt = (at: number) => names[at % names.length] ?? 'x';
    const [term, epoch, policyEpoch, nextMoveId] = numbers;
    const moves = [1, 2, 3].flatMap((number) => {
      const moved = slots.filter((slot) => moveOf[slot] === number);
      const phase = (['prepare', 'leave', 'owned'] as const)[number - 1] ?? 'owned';
      const move = { id: number, since: number, phase, from: nameAt(number), to: nameAt(number + 1), slots: moved };
      return moved.length > 0 ? [move] : [];
    });
    const held = [4, 5].flatMap((number) => {
      const given = slots.filter((slot) => moveOf[slot] === number);
      return given.length > 0 ? [{ name: nameAt(number), boot: term, since: number, slots: given }] : [];
    });
    const members = [...names].sort();
    return {
      ...{
        term,
        epoch,
        by: nameAt(0),
        cause: texts[0],
        members,
        moves,
        policyEpoch,
        holders: held,
        unfinished: slotBits > 3,
      },
      ...{
        voters: members.slice(0, 3).map((each) => ({ name: each, incarnation: term })),
        formerVoters: slotBits > 2 ? [{ name: nameAt(0), incarnation: epoch }] : [],
      },
      ...{ unhealthy: members.slice(1, 2), drained: members.slice(0, 1) },
      hosts: members.map((each) => ({ name: each, session: term, boot: epoch, mac: '02:00:00:00:00:0a' })),
      owners: slots.map((slot) => ((picks[slot] ?? 0) % 5 === 0 ? null : nameAt(picks[slot] ?? 0))),
      nextMoveId: Math.max(4, nextMoveId),
      policy: texts[1],
    };
  });

const small: Ledger = {
  ...{ term: 3, epoch: 9, by: 'r2', cause: 'policy changed', members: ['r1', 'r2'], nextMoveId: 6 },
  owners: ['r1', 'r1', 'r2', null],
  moves: [{ id: 5, since: 9, phase: 'leave', from: 'r1', to: 'r2', slots: [0, 1] }],
  ...{ policy: '{}', policyEpoch: 9, unhealthy: [], drained: ['r2'], unfinished: true },
  voters: [{ name: 'r1', incarnation: 5 }],
  formerVoters: [],
  hosts: [{ name: 'r1', session: 3, boot: 77, mac: '02:00:00:00:00:01' }],
  holders: [{ name: 'r1', boot: 77, since: 4, slots: [2, 3] }],
};

describe('a ledger', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(ledger, (value) => {
        expect(decodeLedger(encodeLedger(value))).toEqual({ ok: true, value });
      }),
    );
  });

  test('is refused when it is cut short or something follows', () => {
    const encoded = encodeLedger(small);
    for (let length = 0; length < encoded.length; length++) {
      expect(decodeLedger(encoded.subarray(0, length)).ok).toBe(false);
    }
    expect(decodeLedger(Uint8Array.from([...encoded, 0])).ok).toBe(false);
  });

  test('with bytes changed is refused or read, never thrown', () => {
    const encoded = encodeLedger(small);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(encoded.length - 1), fc.nat(255)), { maxLength: 4 }), (changes) => {
        const changed = encoded.slice();
        for (const [at, byte] of changes) changed[at] = byte;
        decodeLedger(changed);
      }),
      { numRuns: 3000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void decodeLedger(bytes)));
  });

  test.each<[string, Partial<Ledger>, string]>([
    ['members out of order', { members: ['r2', 'r1'] }, 'members: not ascending'],
    ['a member twice', { members: ['r1', 'r1'] }, 'members: not ascending'],
    ['a move of a slot that does not exist', { moves: [move([4])] }, 'moves: slot 4 does not exist'],
    ['two moves of one slot', { moves: [move([1]), { ...move([1, 2]), id: 4 }] }, 'moves: slot 1 is in two'],
    ['a move id to be given again', { nextMoveId: 5 }, 'moves: id 5 is not below the next'],
    ['slots out of order', { moves: [move([2, 1])] }, 'slots: ranges are not ascending'],
  ])('with %s is refused', (_what, change, reason) => {
    expect(decodeLedger(encodeLedger({ ...small, ...change }))).toEqual({ ok: false, reason });
  });

  test('that claims more slots than there may be allocates nothing', () => {
    const encoded = encodeLedger({ ...small, moves: [] });
    const runs = Buffer.from(encoded).indexOf(Buffer.from([0, 0, 0, 3, 0, 1]));
    encoded.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff], runs);
    expect(decodeLedger(encoded).ok).toBe(false);
  });

  test('of 65,536 alternating slots, all in moves, stays below the bound', () => {
    const slots = Array.from({ length: 65_536 }, (_, slot) => slot);
    const even = slots.filter((slot) => slot % 2 === 0);
    const odd = slots.filter((slot) => slot % 2 === 1);
    const value: Ledger = {
      ...small,
      owners: slots.map((slot) => (slot % 2 ? 'r1' : 'r2')),
      moves: [{ ...move(even), id: 1 }, move(odd)],
      policy: 'x'.repeat(65_535),
    };
    const encoded = encodeLedger(value);
    expect(encoded.length).toBeLessThanOrEqual(ledgerBytesMax);
    expect(decodeLedger(encoded)).toEqual({ ok: true, value });
  });
});

test('a later term is newer than any epoch of an earlier one', () => {
  expect(compareVersions({ term: 2, epoch: 1 }, { term: 1, epoch: 9 })).toBeGreaterThan(0);
  expect(compareVersions({ term: 2, epoch: 1 }, { term: 2, epoch: 2 })).toBeLessThan(0);
  expect(compareVersions({ term: 2, epoch: 2 }, { term: 2, epoch: 2 })).toBe(0);
});

function move(slots: number[]): Ledger['moves'][number] {
  return { id: 5, since: 9, phase: 'leave', from: 'r1', to: 'r2', slots };
}
