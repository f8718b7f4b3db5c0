import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { runOnSim, unfitForSim } from '../../src/scenario/on-sim.ts';
import { formatReport, type ScenarioReport, type Taken } from '../../src/scenario/report.ts';
import { readScenario } from '../../src/scenario/schema.ts';
import type { Simulator } from '../../src/scenario/simulation.ts';
import { openScene } from '../../src/sim/index.ts';

const settle = (): Promise<void> => setImmediate();
const simulator: Simulator = (setup) => openScene({ ...setup, settle });
const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

function scenario(timeline: string, expectations: string, workloads = '{ kind: tcp-echo, sessions: 6 }') {
  const file = join(directory, 'scenario.yaml');
  writeFileSync(
    file,
    `name: short
description: what is shown
topology: { replicas: 3, clients: 2, addresses: 6 }
policy: { strategy: explicit, shares: { r1: 0-84, r2: 85-169, r3: 170-255 }, handoff: forward }
workloads: [{ kind: http, ratePerSecond: 50 }, ${workloads}]
timeline: [${timeline}]
expect: [${expectations}]
`,
  );
  return readScenario(file);
}

async function report(timeline: string, expectations = '', workloads?: string): Promise<ScenarioReport<Taken>> {
  return (await runOnSim(scenario(timeline, expectations, workloads), 1, simulator)).report;
}

/** What has no place in the simulator. */
const unfit = [
  'datagrams-stay.yaml',
  'demo.yaml',
  'group-local.yaml',
  'group-sessions.yaml',
  'group-stay.yaml',
  'group.yaml',
  'transfer-partition.yaml',
  'transfer-crash-giver.yaml',
  'transfer-crash-taker.yaml',
  'faults/server-dead.yaml',
  'mixed-fleet.yaml',
  'sessions.yaml',
  'transfer.yaml',
  'transfer-stream.yaml',
  'impostors.yaml',
  'private.yaml',
  'public.yaml',
  'replayed.yaml',
  'revoked.yaml',
  'router-restart.yaml',
  'tag.yaml',
  'two-routers.yaml',
];
const files = readdirSync('scenarios', { recursive: true, encoding: 'utf8' }).filter((each) => each.endsWith('.yaml'));

test.each(files.filter((each) => !unfit.includes(each)))(
  'scenarios/%s passes on the simulator',
  async (file) => {
    const whole = readScenario(join('scenarios', file));
    expect(unfitForSim(whole)).toBeNull();
    const { report: told } = await runOnSim(whole, 1, simulator);
    expect(told.violation).toBeUndefined();
    expect(told.expectations.filter(({ passed }) => !passed)).toEqual([]);
    expect(told).toMatchObject({ on: 'sim', passed: true, seed: 1 });
  },
  60_000,
);

test.each(unfit)('scenarios/%s says why it cannot run there', (file) => {
  expect(unfitForSim(readScenario(join('scenarios', file)))).toMatch(
    /^the simulator has no (step|sockets|workload|group delivery|router)/,
  );
});

describe('on the simulator', () => {
  test('the same seed is the same run, and another is another', async () => {
    const whole = scenario('{ wait: 1 }, { drain: r2 }', '');
    const [first, again, other] = await Promise.all([1, 1, 2].map((seed) => runOnSim(whole, seed, simulator)));
    expect(again?.records).toEqual(first?.records);
    expect(other?.records.requests).not.toEqual(first?.records.requests);
  });

  test('a host that dies takes its connections with it, and others are served in its place', async () => {
    const told = await report('{ wait: 1 }, { kill: { host: r2 } }, { wait: 5 }');
    expect(told.measures['connections.cut']).toBe(2);
    expect(told.measures['connections.broken']).toBe(0);
    expect(told.measures['failover.gapMs']).toBeGreaterThan(500);
    expect(told.measures['stall.maxMs']).toBeLessThan(100);
    expect(told.replicas.map(({ name, slots }) => [name, slots])).toEqual([
      ['r1', 128],
      ['r2', 0],
      ['r3', 128],
    ]);
    expect(told.timeline).toMatchObject([{ atMs: 1000, what: 'r2 host killed' }]);
    expect(told.timeline[0]?.outcome).toMatch(/^2 open connections are lost; others answer its clients within /);
  });

  test('a move is by hand, and comes as far as it is to before the timeline goes on', async () => {
    const half = await report('{ wait: 1 }, { move: { slots: 0-84, to: r3, until: prepare } }');
    expect(half.replicas.map(({ slots }) => slots)).toEqual([85, 85, 86]);
    expect(half.measures['slots.unsettled']).toBe(85);
    const whole = await report('{ wait: 1 }, { move: { slots: 0-84, to: r3 } }, { wait: 1 }');
    expect(whole.replicas.map(({ slots }) => slots)).toEqual([0, 85, 171]);
    expect(whole.measures['move.slots']).toBe(85);
    expect(whole.measures['connections.reset']).toBe(0);
  });

  test('resets of a handoff that resets are seen by the clients', async () => {
    const policy = 'strategy: explicit, shares: { r1: 85-169, r2: 0-84, r3: 170-255 }, handoff: reset';
    const told = await report(`{ wait: 1 }, { policy: { ${policy} } }, { wait: 2 }`);
    expect(told.measures).toMatchObject({ 'connections.reset': 4, 'connections.reconnected': 4 });
  });

  test('an expectation that fails, fails the run; one of a measure that there is not does neither', async () => {
    const told = await report(
      '{ wait: 1 }',
      '{ measure: requests.total, atLeast: 1000000 }, { measure: capture.drops, atMost: 0 }',
    );
    expect(told.passed).toBe(false);
    expect(told.expectations).toEqual([
      { what: 'requests.total', want: 'at least 1000000', got: told.measures['requests.total'], passed: false },
      { what: 'capture.drops', want: 'at most 0', got: 'not measured on sim', passed: true },
    ]);
    expect(told.measures['requests.total']).toBeGreaterThan(40);
    expect('capture.drops' in told.measures).toBe(false);
  });

  test('a workload that there is not is left out and named, and what it alone measures is not measured', async () => {
    const stream = '{ kind: stream, streams: 2 }';
    const told = await report('{ wait: 1 }', '{ measure: connections.broken, atMost: 0 }', stream);
    expect(told.leftOut).toEqual(['workload stream']);
    expect(told.expectations[0]).toMatchObject({ got: 'not measured on sim', passed: true });
    expect(unfitForSim(scenario('{ kill: { server: r2 } }', ''))).toBe('the simulator has no step kill: { server }');
    expect(unfitForSim(scenario('{ moved: 1 }', ''))).toBe('the simulator has no step moved');
    const whole = scenario('{ wait: 1 }', '', stream);
    const alone = whole.workloads.filter(({ kind }) => kind === 'stream');
    expect(unfitForSim({ ...whole, workloads: alone })).toBe('the simulator has no workload stream');
  });

  test('a promise of the system that is broken fails the run, with its text', async () => {
    const failing: Simulator = async (setup) => {
      const scene = await simulator(setup);
      scene.after(700, () => {
        throw new Error('a slot has an owner');
      });
      return scene;
    };
    const { report: told, records } = await runOnSim(scenario('{ wait: 1 }', ''), 1, failing);
    expect(told.passed).toBe(false);
    expect(told.violation).toMatch(/^"0 nothing fails but what the surroundings make fail" at \d+\.\d{3} ms: /);
    expect(told.violation).toContain('a slot has an owner');
    expect(formatReport(told, records)).toContain('short: FAILED (seed 1, 0.7 s');
  });

  test('a change that the cluster refuses ends the run with its reason', async () => {
    await expect(
      report('{ wait: 1 }, { kill: { host: r2 } }, { wait: 3 }, { move: { slots: 0-7, to: r2 } }'),
    ).rejects.toThrow(/^move r2: .*"r2\\?" is no member, allowed are r1, r3/);
  });
});
