import { expect, test } from 'vitest';
import { judge } from '../../src/scenario/judge.ts';
import type { CommandRecord, RunRecords, StepRecord, TableRecord } from '../../src/scenario/records.ts';
import { noRouting } from '../../src/scenario/routing.ts';

const table = (replica: string, at: number, ...slots: number[]): TableRecord => {
  return { replica, begin: at - 1, end: at, slots: new Set(slots) };
};
const step = (at: number): StepRecord => ({ what: 'move', at, label: '' });
const command = (client: string, began: number, at: number): CommandRecord => {
  return { kind: 'command', client, began, at, command: 'true', exitCode: 0 };
};

/** Clients are named by their slot. Slot 0 goes from r1 to r2 at 110 ms and back at 210 ms; slot 1 stays. */
function moves(...commands: readonly CommandRecord[]): number {
  const records: RunRecords = {
    ...{
      begin: 0,
      end: 1000,
      replicas: ['r1', 'r2'],
      sessionsAsked: 0,
      slotsUnsettled: 0,
      routing: noRouting,
      drops: 0,
    },
    ...{ requests: [], sessions: [], probes: [], pings: [], segments: [], datagrams: [], bytes: [], waits: [] },
    tables: [
      table('r1', 1, 0, 1),
      table('r2', 1),
      table('r1', 110, 1),
      table('r2', 110, 0),
      table('r2', 210),
      table('r1', 210, 0, 1),
    ],
    steps: [step(100), step(200), { what: 'heal', at: 300, done: 300, replica: 'r1' }],
    commands,
  };
  return judge(records, Number).measures['commands.moves'];
}

test('every change of the owner while the command ran counts, from its beginning to its end', () => {
  expect(moves(command('0', 0, 900))).toBe(2);
  expect(moves(command('0', 150, 900))).toBe(1);
  expect(moves(command('0', 0, 150))).toBe(1);
  expect(moves(command('0', 0, 205))).toBe(1);
  expect(moves(command('0', 0, 50))).toBe(0);
});

test('a slot that stays where it is has not moved, and of several commands the least counts', () => {
  expect(moves(command('1', 0, 900))).toBe(0);
  expect(moves(command('0', 0, 900), command('0', 150, 900))).toBe(1);
  expect(moves()).toBe(0);
});
