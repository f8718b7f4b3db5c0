import { describe, expect, test } from 'vitest';
import { lapsesOf } from '../../src/scenario/lapses.ts';
import { type Ownership, ownershipFrom } from '../../src/scenario/ownership.ts';
import type { StepRecord, TableRecord } from '../../src/scenario/records.ts';

function table(replica: string, at: number, slots: readonly number[]): TableRecord {
  return { replica, begin: at, end: at, slots: new Set(slots) };
}

/** A step of r1 that begins at 1000 and has its effect at 1010. */
function step(what: Extract<StepRecord, { replica: string }>['what'], at = 1000): StepRecord {
  return { what, at, done: at + 10, replica: 'r1' };
}

const both = [table('r1', 0, [1, 2]), table('r2', 0, [3])];

function given(steps: readonly StepRecord[], ...more: readonly TableRecord[]): Ownership {
  const tables = [...both, ...more];
  return ownershipFrom(tables, lapsesOf({ steps, tables }));
}

/** Of these instants, those at which r1 may have accepted a slot. */
function accepting(ownership: Ownership, slot: number, ...instants: readonly number[]): readonly number[] {
  return instants.filter((at) => ownership.accepted('r1', slot, at));
}

describe('a table is in force', () => {
  test.each(['kill agent', 'destroy state'] as const)('until its lease is over after %s, then no more', (what) => {
    const ownership = given([step(what)]);
    expect(accepting(ownership, 1, 999, 1005, 1500, 1510, 1520, 1e9)).toEqual([999, 1005, 1500, 1510]);
    expect([1000, 1510, 1511].map((at) => ownership.ownerAt(1, at))).toEqual(['r1', 'r1', null]);
  });

  test.each(['kill host', 'cut'] as const)('until %s takes effect', (what) => {
    const ownership = given([step(what)]);
    expect(accepting(ownership, 1, 999, 1010, 1020, 1e9)).toEqual([999, 1010]);
    expect([1000, 1011].map((at) => ownership.ownerAt(1, at))).toEqual(['r1', null]);
  });

  test.each(['kill server', 'flush', 'leave', 'restart', 'heal'] as const)('whatever %s', (what) => {
    expect(accepting(given([step(what)]), 1, 999, 1020, 1e9)).toEqual([999, 1020, 1e9]);
  });

  test('again when a stopped agent goes on, but for the slots that others took meanwhile', () => {
    const ownership = given([step('stop'), step('continue', 4000)], table('r2', 2000, [2, 3]));
    expect(accepting(ownership, 1, 1500, 1520, 3990, 4000, 1e9)).toEqual([1500, 4000, 1e9]);
    expect(accepting(ownership, 2, 1500, 1520, 3990, 4000, 1e9)).toEqual([1500]);
    expect(ownership.ownerAt(2, 5000)).toBe('r2');
  });

  test('all the time when an agent is stopped for less than its lease', () => {
    const ownership = given([step('stop'), step('continue', 1400)]);
    expect(accepting(ownership, 1, 1000, 1450, 1600, 1e9)).toEqual([1000, 1450, 1600, 1e9]);
  });

  test('again when the cable is plugged in, but for the slots that others took meanwhile', () => {
    const ownership = given([step('cut'), step('heal', 4000)], table('r1', 1600, [2]), table('r2', 2000, [2, 3]));
    expect(accepting(ownership, 2, 1000, 1700, 4000)).toEqual([1000]);
  });

  test('when an agent that followed a killed one has programmed it', () => {
    const ownership = given([step('kill agent'), step('restart', 3000)], table('r1', 3500, [2]));
    expect(accepting(ownership, 1, 3000, 3490, 3510)).toEqual([]);
    expect(accepting(ownership, 2, 3000, 3490, 3510)).toEqual([3510]);
  });

  test('of the others, whatever happens to one', () => {
    expect(given([step('kill host')]).accepted('r2', 3, 1e9)).toBe(true);
  });
});
