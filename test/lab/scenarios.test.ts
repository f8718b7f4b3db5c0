import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { labName, leftovers, runScenarioFile } from './lab-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

const run = (file: string) => runScenarioFile(file, directory);

test.each([
  'rolling-upgrade',
  'drain-and-return',
  'moved-twice',
  'crash-new-owner',
  'crash-old-owner',
  'crash-coordinator-moving',
  'forward-stream',
  'sessions',
  'transfer',
  'mixed-fleet',
  'transfer-partition',
  'transfer-crash-giver',
  'transfer-crash-taker',
  'datagrams',
  'datagrams-stay',
  'group',
  'group-stay',
  'group-sessions',
])(
  'scenarios/%s.yaml passes',
  async (file) => {
    const { code, report } = await run(`scenarios/${file}.yaml`);
    expect(report.expectations.filter(({ passed }) => !passed)).toEqual([]);
    expect([code, report.on, report.passed]).toEqual([0, 'lab', true]);
    expect(leftovers(report.name)).toEqual([]);
  },
  120_000,
);

test('every workload tells what came of it, and every step is in the timeline', async () => {
  const name = labName('k');
  const file = join(directory, 'all.yaml');
  writeFileSync(
    file,
    `name: ${name}
description: every workload and the steps that agents are asked for
topology: { replicas: 2, clients: 1, addresses: 8 }
policy: { strategy: explicit, shares: { r1: 0-127, r2: 128-255 }, handoff: forward }
workloads:
  - { kind: udp-echo, flows: 4 }
  - { kind: stream, streams: 2, bytesPerSecond: 100000 }
  - { kind: command, run: 'curl -s -m 2 --interface $MANYCAST_CLIENT_ADDRESS http://$MANYCAST_SERVICE_ADDRESS:99/ || exit 3', serve: { port: 98/udp, run: 'exec sleep 1000' } }
  - { kind: command, run: 'sleep 1000', endMs: 200, serve: { port: 97/udp, run: 'exec sleep 1000' } }
timeline:
  - wait: 1
  - move: { slots: 0-127, to: r2 }
  - drain: r2
  - undrain: r2
  - upgrade: r1
  - wait: 0.5
expect: []
`,
  );
  const { code, report } = await run(file);
  expect(code).toBe(0);
  const { measures, timeline } = report;
  expect(timeline.map(({ what }) => what)).toEqual([
    'move 0-127 to r2',
    'r2 drained',
    'r2 undrained',
    'r1 agent upgraded',
  ]);
  expect(timeline.every(({ atMs }, i) => atMs >= (timeline[i - 1]?.atMs ?? 1000))).toBe(true);
  expect(measures).toMatchObject({
    ...{ 'bytes.wrong': 0, 'datagrams.wrong': 0, 'connections.total': 2, 'connections.broken': 0 },
    ...{ 'commands.run': 2, 'commands.failed': 2, 'commands.exitCode': 137 },
  });
  expect(measures['bytes.checked']).toBeGreaterThan(2 * 2 * 100_000);
  expect(measures['datagrams.sent']).toBeGreaterThan(4 * 50);
  expect(leftovers(name)).toEqual([]);
}, 60_000);
