import { expect, test } from 'vitest';
import type { RunRecords, WaitRecord } from '../../src/scenario/records.ts';
import { noRouting } from '../../src/scenario/routing.ts';
import { trafficMeasures } from '../../src/scenario/traffic.ts';
import { unsettledSlots } from '../../src/scenario/unsettled.ts';

function measure(
  records: Partial<RunRecords>,
  cut: ReadonlySet<string> = new Set(),
): ReturnType<typeof trafficMeasures> {
  const none = {
    ...{ begin: 0, end: 1000, replicas: [], sessionsAsked: 0, slotsUnsettled: 0, routing: noRouting, drops: 0 },
    ...{ requests: [], sessions: [], probes: [], pings: [], tables: [], steps: [], segments: [] },
    ...{ datagrams: [], bytes: [], waits: [], commands: [] },
  };
  return trafficMeasures({ ...none, ...records }, cut);
}

function wait(session: number, at: number, waitMs: number): WaitRecord {
  return { kind: 'wait', session: `${session}`, at, client: '1', waitMs };
}

test('a stall is the longest wait of a session, over all sessions', () => {
  const waits = Array.from({ length: 200 }, (_, i) => [wait(i, 500, i), wait(i, 900, 1)]).flat();
  expect(measure({ waits })).toMatchObject({ 'stall.p50Ms': 99, 'stall.p99Ms': 197, 'stall.maxMs': 199 });
  expect(measure({})).toMatchObject({ 'stall.p50Ms': 0, 'stall.maxMs': 0 });
});

test('what a session waited before the first step is none', () => {
  const steps = [{ what: 'policy', at: 400, label: 'policy equal' }] as const;
  expect(measure({ steps, waits: [wait(0, 300, 200)] })).toMatchObject({ 'stall.maxMs': 0 });
  expect(measure({ steps, waits: [wait(0, 450, 200)] })).toMatchObject({ 'stall.maxMs': 50 });
});

test('what a session waits that was lost with its host is none', () => {
  const waits = [wait(0, 900, 700), wait(1, 900, 3)];
  expect(measure({ waits }, new Set(['0']))).toMatchObject({ 'stall.p50Ms': 3, 'stall.maxMs': 3 });
});

test('bytes, datagrams and commands are counted', () => {
  const at = { at: 1, client: '1' };
  expect(
    measure({
      bytes: [
        { kind: 'bytes', ...at, checked: 100, wrong: 0 },
        { kind: 'bytes', ...at, checked: 50, wrong: 3 },
      ],
      datagrams: [
        {
          kind: 'datagrams',
          ...at,
          sent: 10,
          lost: 1,
          wrong: 0,
          moved: 0,
          forgotten: 1,
          begun: [{ sentAt: 1, answeredAt: 2, replica: 'r1' }],
        },
        { kind: 'datagrams', ...at, sent: 5, lost: 1, wrong: 2, moved: 3, forgotten: 2, begun: [] },
      ],
      commands: [
        { kind: 'command', began: 0, ...at, command: 'true', exitCode: 0 },
        { kind: 'command', began: 0, ...at, command: 'exit 7', exitCode: 7 },
      ],
    }),
  ).toMatchObject({
    ...{ 'bytes.checked': 150, 'bytes.wrong': 3, 'datagrams.sent': 15, 'datagrams.lost': 2, 'datagrams.wrong': 2 },
    ...{ 'datagrams.moved': 3, 'datagrams.forgotten': 3, 'datagrams.begun': 1 },
    ...{ 'commands.run': 2, 'commands.failed': 1, 'commands.exitCode': 7 },
  });
});

test('a slot is unsettled when it moves, is held by another or is nobody’s, and once for all of these', () => {
  const status = { verdict: 'serving', epoch: 9, settled: true, unhealthy: [], coordinator: 'r1', owners: [] };
  const quiet = { ...status, moves: [], holders: [], unowned: '' };
  expect(unsettledSlots([quiet], 16)).toBe(0);
  const busy = { ...quiet, moves: [{ slots: '0-3' }], holders: [{ slots: '2-5' }], unowned: '15' };
  expect(unsettledSlots([{ ...quiet, epoch: 8 }, busy], 16)).toBe(7);
  expect(unsettledSlots([{ ...quiet, verdict: 'fenced', epoch: 99 }, busy], 16)).toBe(7);
  expect(unsettledSlots([], 16)).toBe(16);
});
