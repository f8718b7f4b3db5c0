import { expect, test } from 'vitest';
import { judge } from '../../src/scenario/judge.ts';
import type { RunRecords, SessionRecord, StepRecord, TableRecord } from '../../src/scenario/records.ts';
import { noRouting } from '../../src/scenario/routing.ts';
import { policyLabel } from '../../src/scenario/step-label.ts';

const table = (replica: string, at: number, ...slots: number[]): TableRecord => {
  return { replica, begin: at - 1, end: at, slots: new Set(slots) };
};
const session = (what: SessionRecord['what'], at: number, client: string, replica: string | null): SessionRecord => {
  return { kind: 'session', what, at, session: client, client, replica };
};

/** Clients are named by their slot. Slots 0 and 1 go from r1 to r2 at 110 ms. */
function story(steps: readonly StepRecord[], sessions: readonly SessionRecord[]): readonly string[] {
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
    ...{ requests: [], probes: [], pings: [], segments: [], datagrams: [], bytes: [], waits: [], commands: [] },
    tables: [table('r1', 1, 0, 1, 2), table('r2', 1, 3), table('r1', 110, 2), table('r2', 110, 0, 1, 3)],
    ...{ steps, sessions },
  };
  return judge(records, Number).story;
}

const move: StepRecord = { what: 'move', at: 100, label: 'move 0-1 to r2' };

test('connections of slots that change their replica stay, move along or are reset', () => {
  const open = ['0', '1', '2'].map((client) => session('open', 50, client, 'r1'));
  expect(story([move], open)).toEqual([
    '2 of 4 slots of clients change their replica; 2 open connections stay where they are',
  ]);
  expect(story([move], [...open, session('moved', 150, '0', 'r2')])).toEqual([
    '2 of 4 slots of clients change their replica; 1 open connection moves along; 1 open connection stays where it is',
  ]);
  expect(story([move], [...open, session('reset', 150, '0', 'r1'), session('open', 160, '0', 'r2')])).toEqual([
    '2 of 4 slots of clients change their replica; 1 open connection stays where it is; 1 open connection is reset',
  ]);
});

test('each step has what came of it until the next', () => {
  const late = session('moved', 500, '0', 'r2');
  const later: StepRecord = { what: 'undrain', at: 400, done: 400, replica: 'r2' };
  expect(story([move, later], [session('open', 50, '0', 'r1'), late])).toEqual([
    '2 of 4 slots of clients change their replica; 1 open connection stays where it is',
    '1 open connection moves along',
  ]);
});

test('a replica that is cut off loses its connections', () => {
  const cut: StepRecord = { what: 'cut', at: 300, done: 300, replica: 'r2' };
  expect(story([cut], [session('open', 50, '3', 'r2'), session('stall', 700, '3', 'r2')])).toEqual([
    '1 open connection is lost',
  ]);
});

test('a policy is told by its shares and by what becomes of connections', () => {
  const drainDeadline = 3600;
  expect(policyLabel({ strategy: 'equal', handoff: 'reset', drainDeadline })).toBe(
    'equal shares, connections are reset',
  );
  const weights = { r1: 50, r2: 25 };
  expect(policyLabel({ strategy: 'weighted', weights, handoff: 'forward', drainDeadline })).toBe(
    'shares 50:25, connections stay',
  );
});
