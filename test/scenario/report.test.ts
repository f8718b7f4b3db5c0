import { describe, expect, test } from 'vitest';
import { type MeasureName, type Measures, measureNames } from '../../src/scenario/measures.ts';
import type { RunRecords } from '../../src/scenario/records.ts';
import { formatReport, reportOf } from '../../src/scenario/report.ts';
import { noRouting } from '../../src/scenario/routing.ts';
import { readScenario, type Scenario } from '../../src/scenario/schema.ts';
import { timelinePicture } from '../../src/scenario/timeline-picture.ts';

const records: RunRecords = {
  begin: 0,
  end: 10_000,
  replicas: ['r1', 'r2'],
  sessionsAsked: 1,
  requests: [
    {
      kind: 'request',
      at: 1,
      durationMs: 1,
      client: '10.77.101.3',
      clientPort: 1,
      replica: 'r1',
      retried: false,
      failure: null,
    },
    {
      kind: 'request',
      at: 9,
      durationMs: 1,
      client: '10.77.101.3',
      clientPort: 1,
      replica: null,
      retried: true,
      failure: 'late',
    },
  ],
  sessions: [
    { kind: 'session', what: 'reset', at: 5000, session: '0', client: '10.77.101.3', replica: 'r1' },
    { kind: 'session', what: 'stall', at: 6000, session: '0', client: '10.77.101.3', replica: 'r1' },
  ],
  probes: [],
  pings: [],
  ...{ slotsUnsettled: 0, routing: noRouting, datagrams: [], bytes: [], waits: [], commands: [] },
  tables: [
    { replica: 'r1', begin: 0, end: 0, slots: new Set([0, 1, 2, 3, 8, 9]) },
    { replica: 'r2', begin: 0, end: 0, slots: new Set([4, 5, 6, 7]) },
  ],
  steps: [
    { what: 'policy', at: 4000, label: 'policy <new>' },
    { what: 'cut', at: 8000, done: 8000, replica: 'r2' },
  ],
  segments: [],
  drops: 0,
};

const measures = Object.fromEntries(measureNames.map((name) => [name, 0])) as Record<MeasureName, number> as Measures;

describe('a report', () => {
  const share = (
    name: string,
    slots: string,
    count: number,
  ): { name: string; slots: string; count: number; filters: string[] } => ({
    ...{ name, slots, count },
    filters: ['0.0.0.0/0.0.0.1'],
  });
  const quiet = { moves: [], holders: [], unowned: '' };
  const statuses = [
    {
      ...{ node: 'r1', verdict: 'serving', epoch: 9, settled: true, coordinator: 'r1', ...quiet },
      owners: [share('r1', '0-15', 16)],
    },
    {
      ...quiet,
      node: 'r2',
      verdict: 'fenced',
      epoch: 5,
      settled: true,
      coordinator: null,
      owners: [share('r1', '0-7', 8), share('r2', '8-15', 8)],
    },
  ];
  const scenario = readScenario('scenarios/demo.yaml');
  const withExpectations = (expect: Scenario['expect']): ReturnType<typeof reportOf> =>
    reportOf(
      { ...scenario, expect },
      records,
      {
        measures: { ...measures, 'requests.total': 2, 'requests.failed': 1 },
        failovers: {},
        failures: [],
        story: ['so be it'],
      },
      statuses,
    );

  test('passes when every expectation holds, at its bounds too', () => {
    expect(withExpectations([]).passed).toBe(true);
    expect(withExpectations([{ measure: 'requests.total', atLeast: 2, atMost: 2 }]).passed).toBe(true);
    const failed = withExpectations([
      { measure: 'requests.total', atLeast: 1 },
      { measure: 'requests.failed', atMost: 0 },
    ]);
    expect(failed.passed).toBe(false);
    expect(failed.expectations).toEqual([
      { what: 'requests.total', want: 'at least 1', got: 2, passed: true },
      { what: 'requests.failed', want: 'at most 0', got: 1, passed: false },
    ]);
    expect(formatReport(failed, records)).toMatch(/requests\.failed +1 {2}FAILED, at most 0/);
    expect(formatReport(failed, records)).toContain('demo: FAILED (10.0 s, kernels programmed 2 times)');
  });

  test('gives the share of a replica at the end, and of one that was cut off what it had before', () => {
    expect(withExpectations([]).replicas).toEqual([
      { name: 'r1', cut: false, slots: 16, filters: ['0.0.0.0/0.0.0.1'], requests: 1 },
      { name: 'r2', cut: true, slots: 8, filters: ['0.0.0.0/0.0.0.1'], requests: 0 },
    ]);
  });
});

describe('the timeline picture', () => {
  const picture = timelinePicture(
    { title: 'a <title>', story: ['one & all'], leftOut: ['a <thing>'] },
    records,
    16,
    (client) => Number(client.split('.').at(-1)),
  );

  test('draws each run of slots that a kernel accepted, until the end or the cut', () => {
    const blocks = [...picture.matchAll(/<rect x="64" y="(\d+)" width="(\d+)" height="(\d+)" fill="(#\w+)"\/>/g)];
    expect(blocks.map((block) => block.slice(1))).toEqual([
      ['96', '800', '100', '#56b4e9'],
      ['296', '800', '50', '#56b4e9'],
      ['196', '640', '100', '#e69f00'],
    ]);
  });

  test('is well-formed: every element is closed by its own name, in turn, and text is text', () => {
    const open: string[] = [];
    for (const [, closing = '', name = '', empty = ''] of picture.matchAll(
      /<(\/?)([a-z]+)(?: [\w:-]+="[^"<&]*")*(\/?)>/g,
    )) {
      if (closing) expect(open.pop()).toBe(name);
      else if (!empty) open.push(name);
    }
    expect(open).toEqual([]);
    const text = picture.replace(/<\/?[a-z]+(?: [\w:-]+="[^"<&]*")*\/?>/g, '');
    expect(text).not.toMatch(/<|&(?!(amp|lt);)/);
    expect(picture).not.toContain('NaN');
  });

  test('marks steps, resets, stalls and failed requests, and escapes what it is told', () => {
    expect(picture).toContain('policy &lt;new>');
    expect(picture).toContain('a &lt;title>');
    expect(picture).toContain('>r2 cut off</text>');
    expect(picture).toContain('>one &amp; all</text>');
    expect(picture).toContain('>left out: a &lt;thing></text>');
    expect(picture).toContain('<path d="M464 178.5 l5 9 h-10 z"');
    expect(picture).toContain('<circle cx="544" cy="183.5"');
    expect(picture.match(/l8 8 m0 -8/g)).toHaveLength(2);
  });
});
