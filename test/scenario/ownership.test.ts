import { describe, expect, test } from 'vitest';
import { ownershipFrom } from '../../src/scenario/ownership.ts';
import type { TableRecord } from '../../src/scenario/records.ts';

/** A transaction takes from `begin` to `begin + 10`; the kernel changes somewhere in between. */
function table(replica: string, begin: number, slots: readonly number[]): TableRecord {
  return { replica, begin, end: begin + 10, slots: new Set(slots) };
}

/** Slot 1 goes from r1 to r2: r1 has left it by 510, r2 has it from 520 to 530 on. Not in order: agents tell when they can. */
const ownership = ownershipFrom([
  table('r2', 520, [1, 2]),
  table('r1', 100, [1]),
  table('r1', 500, []),
  table('r2', 100, [2]),
]);

describe('whether a kernel may have accepted a slot', () => {
  test.each([
    ['before its transaction began', 'r1', 1, 94, false],
    ['within the slack of the clocks before it', 'r1', 1, 95, true],
    ['during its transaction', 'r1', 1, 105, true],
    ['while the next transaction, which takes it away, is under way', 'r1', 1, 505, true],
    ['within the slack after that', 'r1', 1, 515, true],
    ['later', 'r1', 1, 516, false],
    ['the new owner before it', 'r2', 1, 514, false],
    ['the new owner from its transaction on', 'r2', 1, 515, true],
    ['a slot kept through a transaction', 'r2', 2, 525, true],
    ['the last table, which stays', 'r2', 1, 1e9, true],
    ['a slot that was never its own', 'r1', 2, 300, false],
    ['a replica that told nothing', 'r3', 1, 300, false],
  ] as const)('%s: %s, slot %d, at %d: %s', (_when, replica, slot, at, accepted) => {
    expect(ownership.accepted(replica, slot, at)).toBe(accepted);
  });
});

describe('who has a slot', () => {
  test.each([
    ['nobody before the first transaction has ended', 109, null],
    ['its owner', 110, 'r1'],
    ['nobody between two owners', 510, null],
    ['its new owner', 530, 'r2'],
  ] as const)('%s', (_who, at, owner) => {
    expect(ownership.ownerAt(1, at)).toBe(owner);
  });

  test('is taken over when the next kernel has it, not when the former has left it', () => {
    expect(ownership.takenOver(1, 'r1', 200)).toBe(530);
    expect(ownership.takenOver(1, 'r1', 530)).toBeNull();
    expect(ownership.takenOver(2, 'r2', 0)).toBeNull();
  });
});

test('tables are told oldest first, and none for a replica that told nothing', () => {
  expect(ownership.spansOf('r1').map(({ begin, until }) => [begin, until])).toEqual([
    [100, 510],
    [500, Number.POSITIVE_INFINITY],
  ]);
  expect(ownership.spansOf('r3')).toEqual([]);
});
