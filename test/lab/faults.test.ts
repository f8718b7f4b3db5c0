import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  destroyState,
  isAgentAlive,
  killHost,
  killServers,
  type SwitchFaults,
  setSwitchFaults,
  signalAgent,
} from '../../src/lab/index.ts';
import { planLab } from '../../src/lab/plan.ts';
import { labDirectory, labName, leftovers, manycast, on, type StatusSeen, statusOf, until } from './lab-under-test.ts';

type PeerSeen = StatusSeen['peers'][number] & { readonly state?: string };

describe('faults of a lab', () => {
  const size = { name: labName('w'), replicas: 3, clients: 1, addresses: 2 };
  const plan = planLab(size);
  const { name } = size;

  beforeAll(async () => {
    const up = await manycast('lab', 'up', name, '--replicas', '3', '--clients', '1', '--addresses', '2');
    expect(up).toMatchObject({ code: 0 });
  });
  afterAll(async () => {
    await manycast('lab', 'down', name);
    expect(leftovers(name)).toEqual([]);
  });

  /** Waits until one replica hears another, or does not. */
  const hears = (listener: string, speaker: string, wanted: boolean): Promise<unknown> =>
    until(
      async () => (await statusOf(name, listener)).peers as readonly PeerSeen[],
      (peers) => peers.some((peer) => peer.name === speaker && (peer.state === 'heard') === wanted),
    );
  const faults = (blocks: SwitchFaults['blocks'], percent = 0): void =>
    setSwitchFaults(plan, { blocks, loss: { percent, spared: [] } });

  test('a block is one way, and ends', async () => {
    faults([['r2', 'r3']]);
    await hears('r3', 'r2', false);
    await hears('r2', 'r3', true);
    await hears('r3', 'r1', true);
    faults([]);
    await hears('r3', 'r2', true);
  });

  test('loss of everything silences the control channel, and nothing else', async () => {
    faults([], 100);
    await hears('r1', 'r2', false);
    await hears('r3', 'r1', false);
    expect(await on(name, 'c1', 'curl', '-s', '-m', '4', 'http://10.77.0.11/')).toBe('r1\n');
    faults([]);
    await hears('r1', 'r2', true);
  });

  test('an agent whose state is destroyed is dead, and remembers nothing', async () => {
    const state = join(labDirectory(name), 'r1', 'state');
    expect(readdirSync(state)).not.toEqual([]);
    destroyState(plan, 'r1');
    await until(
      async () => isAgentAlive(plan, 'r1'),
      (alive) => !alive,
    );
    expect(existsSync(state)).toBe(false);
    expect(() => signalAgent(plan, 'r4', 'SIGKILL')).toThrow(`has no replica "r4", allowed are r1, r2, r3`);
  });

  test('a server that is killed serves no more, while its agent does', async () => {
    const ask = ['curl', '-s', '-m', '4', '-o', '/dev/null', '-w', '%{http_code}', 'http://10.77.0.12/'];
    const answered = async (): Promise<string> => (await manycast('lab', 'exec', name, 'c1', '--', ...ask)).stdout;
    expect(await answered()).toBe('200');
    killServers(plan, 'r2');
    await until(answered, (code) => code === '000');
    expect(isAgentAlive(plan, 'r2')).toBe(true);
  });

  test('a host that is killed has no cable and no process left', async () => {
    killHost(plan, 'r3');
    await until(
      () => on(name, 'sw', 'ip', 'netns', 'pids', `mc-${name}-r3`),
      (pids) => pids.trim() === '',
    );
    expect(await on(name, 'sw', 'ip', '-brief', 'link', 'show', 'r3')).toContain('DOWN');
    expect(isAgentAlive(plan, 'r3')).toBe(false);
    expect(isAgentAlive(plan, 'r2')).toBe(true);
  });
});

describe('scenarios of faults, in short', () => {
  const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  test.each([
    ['agent-killed', ['agent killed', 'agent restarted']],
    ['partition', ['no frames between ', 'healed']],
  ])('%s: never two for one client, and nothing is left', async (scenario, steps) => {
    const name = labName('y');
    const file = join(directory, 'short.yaml');
    const whole = readFileSync(`scenarios/faults/${scenario}.yaml`, 'utf8');
    writeFileSync(file, whole.replace(/^name: .*/m, `name: ${name}`).replace(/wait: \d+/g, 'wait: 1.5'));
    const ran = await manycast('scenario', 'run', file, '--on', 'lab');
    expect(ran.stdout).toContain(`${name}: passed`);
    expect(ran.stdout).toMatch(/served\.gapMs +[1-9]\d*\n/);
    for (const step of steps) expect(ran.stderr).toContain(step);
    expect(ran.code).toBe(0);
    expect(leftovers(name)).toEqual([]);
  });

  test('every step that ends an agent is survived: the run goes on and the agent comes again', async () => {
    const name = labName('z');
    const file = join(directory, 'all.yaml');
    const report = join(directory, 'report');
    writeFileSync(
      file,
      `name: ${name}
description: one fault after the other
topology: { replicas: 3, clients: 1, addresses: 6 }
policy: { strategy: equal, handoff: reset }
workloads: [{ kind: probe, intervalMs: 50 }, { kind: ping, intervalMs: 10, connections: 3 }]
timeline:
  - stop: { agent: r2, seconds: 0.6 }
  - wait: 1
  - restart: { agent: r2 }
  - leave: r1
  - stop: { agent: r3, seconds: 60 }
  - restart: { agent: r3 }
  - restart: { agent: r1 }
  - destroyState: r2
  - restart: { agent: r2 }
  - flush: r3
  - kill: { server: r2 }
  - cut: r1
  - heal: r1
  - loss: { percent: 100 }
  - loss: { percent: 0 }
  - block: { from: r1, to: others }
  - heal: r1
  - stop: { agent: r1, seconds: 60 }
  - kill: { host: r3 }
  - wait: 0.5
expect:
  - { measure: answers.byTwo, atMost: 0 }
`,
    );
    const ran = await manycast('scenario', 'run', file, '--on', 'lab', '--report', report);
    expect(ran.stdout).toContain(`${name}: passed`);
    const said = [...ran.stderr.matchAll(/^ *[\d.]+ s {2}(r\d .*|no frames.*|control.*)$/gm)].map(([, what]) => what);
    expect(said).toEqual([
      'r2 agent stopped',
      'r2 agent goes on',
      'r2 agent restarted',
      'r1 leaves',
      'r3 agent stopped',
      'r3 agent goes on',
      'r3 agent restarted',
      'r1 agent restarted',
      'r2 state destroyed',
      'r2 agent restarted',
      'r3 rules flushed',
      'r2 server killed',
      'r1 cut off',
      'r1 healed',
      'control channel loses 100 %',
      'control channel loses 0 %',
      'no frames from r1 to others',
      'r1 healed',
      'r1 agent stopped',
      'r3 host killed',
      'r1 agent goes on',
    ]);
    expect(readFileSync(join(report, 'timeline.svg'), 'utf8')).toContain('>r3 host killed</text>');
    expect(leftovers(name)).toEqual([]);
  });
});
