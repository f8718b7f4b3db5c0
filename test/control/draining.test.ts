import { describe, expect, test } from 'vitest';
import { Drained, Draining } from '../../src/control/draining.ts';
import { defaultTimers } from '../../src/control/timers.ts';
import type { Rows } from '../../src/dataplane/forwarding-table.ts';
import type { Ledger } from '../../src/wire/ledger.ts';

const known: Ledger = {
  ...{ term: 1, epoch: 5, by: 'a', cause: '', members: ['a', 'b'], unhealthy: [], drained: [], hosts: [] },
  ...{ policy: '', policyEpoch: 1, voters: [], formerVoters: [], owners: ['b', 'b'] },
  ...{ moves: [], nextMoveId: 2, unfinished: false, holders: [{ name: 'a', boot: 1, since: 5, slots: [0, 1] }] },
};
const rows: Rows = new Map([
  [0, { kind: 'old', peer: null }],
  [1, { kind: 'old', peer: null }],
]);
const deadlineMs = 60_000;
const { halfOpenMs, listMs } = defaultTimers;

describe.each([
  ['forward', false],
  ['reset', true],
])('a holder, handoff %s', (_handoff, isReset) => {
  test('says that nothing is left no sooner than a client may have answered its last SYN-ACK', () => {
    const draining = new Draining(defaultTimers);
    const listedAt: number[] = [];
    for (let now = 0; now <= halfOpenMs + listMs; now += listMs / 2) {
      if (draining.step(known, rows, isReset, deadlineMs, now).list.length === 0) continue;
      listedAt.push(now);
      draining.note(new Set([1]), now);
      const report = draining.report(known, 'a');
      expect(report).not.toBeNull();
    }
    expect(listedAt[0]).toBe(halfOpenMs);
  });
});

test('a host whose flows take long to list looks for them less often', () => {
  const draining = new Draining(defaultTimers);
  const tookMs = 100;
  const lists = (now: number) => draining.step(known, rows, false, deadlineMs, now).list.length > 0;
  lists(0);
  expect(lists(halfOpenMs)).toBe(true);
  draining.note(new Set([1]), halfOpenMs + tookMs);
  expect(lists(halfOpenMs + 20 * tookMs - 1)).toBe(false);
  expect(draining.nextAt()).toBe(halfOpenMs + 20 * tookMs);
  expect(lists(halfOpenMs + 20 * tookMs)).toBe(true);
  draining.note(new Set([1]), halfOpenMs + 20 * tookMs + 1);
  expect(lists(halfOpenMs + 20 * tookMs + listMs)).toBe(true);
});

test('handoff reset ends the connections at once, and again those that come of half-open ones', () => {
  const draining = new Draining(defaultTimers);
  const ends = [0, listMs, 2 * listMs].map((now) => draining.step(known, rows, true, deadlineMs, now).end);
  expect(ends).toEqual([
    [0, 1],
    [0, 1],
    [0, 1],
  ]);
});

test('how long a holder may go on is counted from when its ledger was first seen', () => {
  const drained = new Drained();
  const holder = { name: 'a', boot: 1, since: 5, slots: [0, 1] };
  drained.note([holder], 1000);
  drained.note([{ ...holder, slots: [1] }], 5000);
  expect(drained.msLeft(holder, 60_000, 11_000)).toBe(50_000);
  drained.note([], 12_000);
  drained.note([holder], 20_000);
  expect(drained.msLeft(holder, 60_000, 20_000)).toBe(60_000);
});
