import { describe, expect, test } from 'vitest';
import { rowsOf } from '../../src/control/rows.ts';
import type { Row } from '../../src/dataplane/forwarding-table.ts';
import { holdersMax } from '../../src/dataplane/forwarding-table.ts';
import type { Holder, Ledger, Move } from '../../src/wire/ledger.ts';

const macOf = (name: string): string => `02:00:00:00:00:0${name}`;

function ledgerWith(owner: string, moves: Partial<Move>[], holders: readonly string[]): Ledger {
  return {
    ...{ term: 1, epoch: 1, by: 'a', cause: '', members: ['a', 'b', 'c'], unhealthy: [], drained: [] },
    hosts: ['a', 'b', 'c'].map((name) => ({ name, session: 1, boot: 1, mac: macOf(name) })),
    ...{ policy: '', policyEpoch: 1, voters: [], formerVoters: [] },
    ...{ owners: [owner, owner], nextMoveId: 2, unfinished: false },
    moves: moves.map((move) => ({ id: 1, since: 1, phase: 'prepare', from: 'a', to: 'b', slots: [1], ...move })),
    holders: holders.map((name): Holder => ({ name, boot: 1, since: 1, slots: [1] })),
  };
}

describe('rows where frames reach one host alone', () => {
  const row = (ledger: Ledger, node: string): Row | undefined => rowsOf(ledger, { node, boot: 1, copies: true }).get(1);
  const moving = (phase: Move['phase'], ...holders: string[]): Ledger =>
    ledgerWith(phase === 'owned' ? 'b' : 'a', [{ phase }], holders);

  test('who arrives copies to the owner and to the holders, until the move is done', () => {
    expect(row(moving('prepare'), 'b')).toEqual({ kind: 'relay', peer: macOf('a'), holders: [macOf('a')] });
    expect(row(moving('leave', 'c'), 'b')).toEqual({
      ...{ kind: 'relay', peer: macOf('a') },
      holders: [macOf('a'), macOf('c')],
    });
    expect(row(moving('owned', 'a', 'c'), 'b')).toEqual({
      ...{ kind: 'new', peer: null },
      holders: [macOf('a'), macOf('c')],
    });
    expect(row(ledgerWith('b', [], []), 'b')).toEqual({ kind: 'own', peer: null });
  });

  test('who leaves takes all that comes still, and then what is relayed alone', () => {
    expect(row(moving('prepare'), 'a')).toEqual({ kind: 'own', peer: null });
    expect(row(moving('leave'), 'a')).toEqual({ kind: 'new', peer: null });
    expect(row(moving('leave', 'c'), 'a')).toEqual({ kind: 'new', peer: null, holders: [macOf('c')] });
    expect(row(moving('owned', 'a'), 'a')).toEqual({ kind: 'old', peer: macOf('b') });
  });

  test('a holder copies to nobody, and nobody to itself', () => {
    expect(row(moving('owned', 'a', 'c'), 'c')).toEqual({ kind: 'old', peer: null });
    expect(row(moving('leave', 'b'), 'b')).toEqual({ kind: 'relay', peer: macOf('a'), holders: [macOf('a')] });
  });

  test('where every host sees every frame no row names holders', () => {
    const rows = rowsOf(moving('owned', 'a', 'c'), { node: 'b', boot: 1 });
    expect(rows.get(1)).toEqual({ kind: 'new', peer: null });
    expect(rowsOf(moving('leave'), { node: 'a', boot: 1 }).get(1)).toEqual({ kind: 'old', peer: macOf('b') });
  });

  test('copies go to a bounded number of hosts', () => {
    const names = Array.from({ length: holdersMax + 5 }, (_, i) => `h${i}`);
    const ledger = {
      ...ledgerWith('b', [], names),
      hosts: names.map((name, i) => ({ name, session: 1, boot: 1, mac: `02:00:00:00:01:${(i + 16).toString(16)}` })),
    };
    expect(row(ledger, 'b')?.holders).toHaveLength(holdersMax);
  });
});
