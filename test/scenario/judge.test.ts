import { describe, expect, test } from 'vitest';
import type { CapturedSegment } from '../../src/lab/index.ts';
import { judge } from '../../src/scenario/judge.ts';
import type { Measures } from '../../src/scenario/measures.ts';
import type {
  PingRecord,
  ProbeRecord,
  RequestRecord,
  RunRecords,
  SessionRecord,
  TableRecord,
} from '../../src/scenario/records.ts';
import { noRouting } from '../../src/scenario/routing.ts';

/** Two replicas: r1 accepts slot 1 from 0, r2 slot 2; at 500 to 520 slot 1 goes to r2. Clients are "1" and "2", by their slot. */
const tables: TableRecord[] = [
  table('r1', 0, [1]),
  table('r2', 0, [2]),
  table('r1', 500, []),
  table('r2', 520, [1, 2]),
];

function table(replica: string, at: number, slots: readonly number[]): TableRecord {
  return { replica, begin: at, end: at + 1, slots: new Set(slots) };
}

const noTraffic = { slotsUnsettled: 0, routing: noRouting, datagrams: [], bytes: [], waits: [], commands: [] };

function measure(records: Partial<RunRecords>): Measures {
  const empty = {
    begin: 0,
    end: 1000,
    replicas: ['r1', 'r2'],
    sessionsAsked: 0,
    requests: [],
    sessions: [],
    probes: [],
    pings: [],
    ...noTraffic,
    steps: [],
    segments: [],
    drops: 0,
  };
  return judge({ ...empty, tables, ...records }, Number).measures;
}

function segment(
  kind: CapturedSegment['kind'],
  at: number,
  port: string,
  more: Partial<CapturedSegment> = {},
): CapturedSegment {
  return { kind, at, port, client: '1', clientPort: 4000, sequence: kind === 'rst' ? null : 77, ...more };
}

function request(at: number, more: Partial<RequestRecord> = {}): RequestRecord {
  const answered = { durationMs: 1, client: '1', clientPort: 4000, replica: 'r1', retried: false, failure: null };
  return { kind: 'request', at, ...answered, ...more };
}

function session(what: SessionRecord['what'], at: number, replica: string | null = 'r1', name = '0'): SessionRecord {
  return { kind: 'session', what, at, session: name, client: '1', replica };
}

describe('who answered', () => {
  const cases: readonly (readonly [string, readonly CapturedSegment[], number, number])[] = [
    ['the owner', [segment('syn', 100, 'c1'), segment('syn-ack', 101, 'r1')], 0, 0],
    ['a replica that never had the slot', [segment('syn', 100, 'c1'), segment('syn-ack', 101, 'r2')], 1, 0],
    ['the former owner, after the move', [segment('syn', 600, 'c1'), segment('syn-ack', 601, 'r1')], 1, 0],
    [
      'the owner at the time of the SYN, while the move began',
      [segment('syn', 499, 'c1'), segment('syn-ack', 510, 'r1')],
      0,
      0,
    ],
    [
      'the new owner, of a SYN repeated over the move',
      [segment('syn', 510, 'c1'), segment('syn', 1510, 'c1'), segment('syn-ack', 1511, 'r2')],
      0,
      0,
    ],
    [
      'the owner at the time of a SYN that is repeated after the move, its answer lost',
      [segment('syn', 490, 'c1'), segment('syn-ack', 491, 'r1'), segment('syn', 1490, 'c1')],
      0,
      0,
    ],
    ['two replicas', [segment('syn', 100, 'c1'), segment('syn-ack', 101, 'r1'), segment('syn-ack', 102, 'r2')], 1, 1],
    [
      'the former owner resets after the move what it had answered',
      [segment('syn', 100, 'c1'), segment('syn-ack', 101, 'r1'), segment('rst', 530, 'r1')],
      0,
      0,
    ],
    [
      'the new owner resets what it does not know',
      [segment('syn', 100, 'c1'), segment('syn-ack', 101, 'r1'), segment('rst', 530, 'r2')],
      0,
      0,
    ],
    ['a stranger resets', [segment('syn', 100, 'c1'), segment('syn-ack', 101, 'r1'), segment('rst', 200, 'r2')], 1, 0],
    ['a stranger resets what nobody opened', [segment('rst', 200, 'r2'), segment('rst', 201, 'r2')], 1, 0],
    ['the owner resets what nobody opened', [segment('rst', 200, 'r1')], 0, 0],
    ['somebody answers what nobody asked', [segment('syn-ack', 200, 'r1')], 1, 0],
    [
      'two connections from one port, one after the other, by their owners',
      [
        segment('syn', 100, 'c1'),
        segment('syn-ack', 101, 'r1'),
        segment('syn', 700, 'c1', { sequence: 99 }),
        segment('syn-ack', 701, 'r2', { sequence: 99 }),
      ],
      0,
      0,
    ],
  ];
  test.each(cases)('%s', (_what, segments, wrongReplica, byTwo) => {
    const measures = measure({ segments });
    expect([measures['answers.wrongReplica'], measures['answers.byTwo']]).toEqual([wrongReplica, byTwo]);
  });

  test('an answer that names another replica than the one that took the connection', () => {
    const segments = [segment('syn', 100, 'c1'), segment('syn-ack', 101, 'r1')];
    const measures = measure({ segments, requests: [request(100, { replica: 'r2' })] });
    expect(measures['answers.byTwo']).toBe(1);
    expect(measures['answers.wrongReplica']).toBe(1);
  });

  test('a port that is used again: each request is of the connection that was there then', () => {
    const segments = [
      ...[segment('syn', 100, 'c1'), segment('syn-ack', 101, 'r1')],
      ...[segment('syn', 700, 'c1', { sequence: 99 }), segment('syn-ack', 701, 'r2', { sequence: 99 })],
    ];
    const measures = measure({ segments, requests: [request(100), request(700, { replica: 'r2' })] });
    expect([measures['answers.byTwo'], measures['answers.wrongReplica']]).toEqual([0, 0]);
    expect(measure({ segments, requests: [request(710, { replica: 'r1' })] })['answers.byTwo']).toBe(1);
  });
});

test.each([
  ['at its owner', 100, 101, 'r1', 0],
  ['at a replica that never had the slot', 100, 101, 'r2', 1],
  ['at the former owner, after the move', 600, 601, 'r1', 1],
  ['at the new owner, before the move', 400, 401, 'r2', 1],
  ['at the former owner, which had the slot when its first datagram was sent', 490, 600, 'r1', 0],
  ['at the new owner, which took the slot before it answered', 490, 530, 'r2', 0],
] as const)('a flow of datagrams begins %s', (_where, sentAt, answeredAt, replica, astray) => {
  const counts = { sent: 9, lost: 0, wrong: 0, moved: 0, forgotten: 0 };
  const begun = [{ sentAt, answeredAt, replica }];
  const datagrams = [{ kind: 'datagrams' as const, at: 700, client: '1', ...counts, begun }];
  expect(measure({ datagrams })['datagrams.astray']).toBe(astray);
});

describe('requests', () => {
  const steps = [{ what: 'cut', at: 450, done: 450, replica: 'r1' } as const];

  test('that fail count as failed', () => {
    const measures = measure({ requests: [request(10), request(20, { failure: 'reset', replica: null })] });
    expect(measures).toMatchObject({ 'requests.total': 2, 'requests.failed': 1, 'requests.cut': 0 });
  });

  test.each([
    ['in flight to the cut replica', request(440, { durationMs: 300, failure: 'late' }), 1],
    ['begun before its slot was taken over', request(510, { durationMs: 300, failure: 'late' }), 1],
    ['of another slot', request(460, { client: '2', failure: 'late' }), 0],
    ['begun well after its slot was taken over', request(600, { failure: 'late' }), 0],
    ['over before the cut', request(400, { failure: 'late' }), 0],
  ])('%s: lost with the cut replica %#', (_what, lost, cut) => {
    expect(measure({ steps, requests: [lost] })).toMatchObject({ 'requests.cut': cut, 'requests.failed': 1 - cut });
  });

  test('that are answered again end the gap of a failover, the longest of all clients', () => {
    const requests = [
      request(440),
      request(455, { replica: 'r2', durationMs: 245 }),
      request(460, { client: '2', replica: 'r2' }),
    ];
    expect(measure({ steps, requests })['failover.gapMs']).toBe(250);
  });

  test('that are never answered again leave the gap open until the end', () => {
    expect(measure({ steps, requests: [request(440)] })['failover.gapMs']).toBe(550);
  });
});

describe('long-lived connections', () => {
  const count = (sessions: SessionRecord[], more: Partial<RunRecords> = {}): readonly number[] => {
    const measures = measure({ sessions, sessionsAsked: 1, ...more });
    return [
      measures['connections.reset'],
      measures['connections.reconnected'],
      measures['connections.cut'],
      measures['connections.broken'],
    ];
  };
  const steps = [{ what: 'cut', at: 450, done: 450, replica: 'r1' } as const];

  test.each([
    ['opened and kept', [session('open', 1)], [0, 0, 0, 0]],
    ['reset and open again', [session('open', 1), session('reset', 5), session('open', 9, 'r2')], [1, 1, 0, 0]],
    [
      'reset, refused once, open again',
      [session('open', 1), session('reset', 5), session('failed', 6, null), session('open', 9, 'r2')],
      [1, 1, 0, 0],
    ],
    ['reset and never open again', [session('open', 1), session('reset', 5)], [1, 0, 0, 1]],
    ['a wrong answer', [session('open', 1), session('wrong', 5), session('open', 9)], [0, 0, 0, 1]],
    ['a stall', [session('open', 1), session('stall', 5), session('open', 9)], [0, 0, 0, 1]],
    ['closed by the server', [session('open', 1), session('closed', 5), session('open', 9)], [0, 0, 0, 1]],
    ['never opened', [], [0, 0, 0, 1]],
  ])('%s', (_what, sessions, counts) => {
    expect(count(sessions)).toEqual(counts);
  });

  test.each([
    [
      'reset by whoever took over from the cut replica',
      [session('open', 1), session('reset', 500), session('open', 520, 'r2')],
      [0, 0, 1, 0],
    ],
    [
      'stalled with the cut replica',
      [session('open', 1), session('stall', 500), session('open', 520, 'r2')],
      [0, 0, 1, 0],
    ],
    ['lost with it and never open again', [session('open', 1), session('stall', 500)], [0, 0, 1, 1]],
    [
      'of another replica',
      [session('open', 1, 'r2'), session('stall', 500, 'r2'), session('open', 520, 'r2')],
      [0, 0, 0, 1],
    ],
  ])('%s', (_what, sessions, counts) => {
    expect(count(sessions, { steps })).toEqual(counts);
  });

  test('that were lost with the cut replica have no stall, those of others have', () => {
    const waits = (['0', '1'] as const).map((name) => ({
      ...({ kind: 'wait', session: name, at: 900, client: '1', waitMs: name === '0' ? 400 : 7 } as const),
    }));
    const sessions = [session('open', 1), session('stall', 500), session('open', 520, 'r2')];
    expect(measure({ steps, waits, sessions, sessionsAsked: 2 })['stall.maxMs']).toBe(7);
    expect(measure({ waits, sessions, sessionsAsked: 2 })['stall.maxMs']).toBe(400);
  });
});

test('a move is what the kernels did between saving the policy and the next step', () => {
  const steps = [
    { what: 'policy', at: 450, label: 'policy equal' } as const,
    { what: 'cut', at: 900, done: 900, replica: 'r1' } as const,
  ];
  expect(measure({ steps })).toMatchObject({ 'move.slots': 1, 'move.durationMs': 71 });
  expect(measure({ steps: [{ what: 'policy', at: 600, label: '' }] })).toMatchObject({
    'move.slots': 0,
    'move.durationMs': 0,
  });
});

describe('service after a step', () => {
  const probe = (at: number, client = '1', opened = true): ProbeRecord => {
    return { kind: 'probe', at, durationMs: 5, client, opened };
  };
  const steps = [{ what: 'kill agent', at: 450, done: 451, replica: 'r1' } as const];

  test('is away from the step, or the last fresh connection, to the next that opens; the longest of all clients', () => {
    const probes = [
      probe(100),
      probe(460),
      probe(700),
      probe(720, '1', false),
      probe(990),
      probe(460, '2'),
      probe(800, '2'),
      probe(990, '2'),
    ];
    expect(measure({ steps, probes })).toMatchObject({ 'served.gapMs': 340, 'served.refused': 1 });
    expect(measure({ steps, probes: probes.filter(({ client }) => client === '1') })['served.gapMs']).toBe(290);
  });

  test('is away until the end for a client that opens none any more', () => {
    expect(measure({ steps, probes: [probe(440, '1'), probe(600, '1', false)] })['served.gapMs']).toBe(550);
  });

  test('is not judged where nobody asks', () => {
    expect(measure({ steps })).toMatchObject({ 'served.gapMs': 0, 'ping.gapMs': 0 });
  });

  test('pauses for connections that are never silent; before the step only what reaches beyond it', () => {
    const ping = (at: number, gapMs: number, lost = 0): PingRecord => ({ kind: 'ping', at, client: '1', gapMs, lost });
    expect(measure({ steps, pings: [ping(400, 300), ping(500, 2, 1), ping(600, 3)] })).toMatchObject({
      'ping.gapMs': 3,
      'ping.lost': 1,
    });
    expect(measure({ steps, pings: [ping(460, 300)] })['ping.gapMs']).toBe(10);
  });
});

describe('hosts that are lost', () => {
  const steps = [
    { what: 'cut', at: 200, done: 210, replica: 'r1' } as const,
    { what: 'kill host', at: 700, done: 710, replica: 'r2' } as const,
  ];
  const requests = [
    request(505, { replica: 'r2' }),
    request(800),
    request(940, { client: '2', replica: 'r1', durationMs: 10 }),
  ];

  test('are told apart by how, the longest gap is the measure', () => {
    const records = { ...{ begin: 0, end: 1000, replicas: ['r1', 'r2'], sessionsAsked: 0 } };
    const rest = { sessions: [], probes: [], pings: [], ...noTraffic, segments: [], drops: 0, requests, steps, tables };
    const { failovers, measures } = judge({ ...records, ...rest }, Number);
    expect(failovers).toEqual({ cut: 306, 'kill host': 250 });
    expect(measures['failover.gapMs']).toBe(306);
  });

  test('an answer of one after its death is wrong; of one whose agent was killed, once the lease is over', () => {
    const answered = [segment('syn', 600, 'c1'), segment('syn-ack', 601, 'r1')];
    const wrong = (what: 'kill host' | 'kill agent', at: number): number =>
      measure({ tables: tables.slice(0, 2), segments: answered, steps: [{ what, at, done: at, replica: 'r1' }] })[
        'answers.wrongReplica'
      ];
    expect([wrong('kill host', 596), wrong('kill host', 590)]).toEqual([0, 1]);
    expect([wrong('kill agent', 96), wrong('kill agent', 90)]).toEqual([0, 1]);
  });
});
