import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askAgentOnce } from '../../src/platform/agent-client.ts';
import { labDirectory, labName, leftovers, manycast, on, type StatusSeen, statusOf, until } from './lab-under-test.ts';

type PeerSeen = StatusSeen['peers'][number] & { readonly state?: string };

describe('faults of a lab', () => {
  const name = labName('w');

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
  const step = async (text: string, said: string): Promise<void> =>
    expect(await manycast('lab', 'step', name, text)).toMatchObject({ code: 0, stdout: said });
  const isAgentAlive = (replica: string): Promise<boolean> =>
    askAgentOnce(join(labDirectory(name), replica, 'agent.sock'), 'GET', '/v1/status').then(
      () => true,
      () => false,
    );

  test('a block is one way, adds to another, and ends', async () => {
    await step('block: { from: r1, to: r3 }', 'no frames from r1 to r3\n');
    await step('block: { from: r2, to: r3 }', 'no frames from r2 to r3\n');
    await hears('r3', 'r2', false);
    await hears('r3', 'r1', false);
    await hears('r2', 'r3', true);
    await step('heal: r2', 'r2 healed\n');
    await hears('r3', 'r2', true);
    await hears('r3', 'r1', false);
    await step('heal: r3', 'r3 healed\n');
    await hears('r3', 'r1', true);
  });

  test('loss of everything silences the control channel, and nothing else', async () => {
    await step('loss: { percent: 100 }', 'control channel loses 100 %\n');
    await hears('r1', 'r2', false);
    await hears('r3', 'r1', false);
    expect(await on(name, 'c1', 'curl', '-s', '-m', '4', 'http://10.77.0.11/')).toBe('r1\n');
    await step('loss: { percent: 0 }', 'control channel loses 0 %\n');
    await hears('r1', 'r2', true);
  });

  test('a stopped agent is not heard, and goes on', async () => {
    const stopped = step('stop: { agent: r2, seconds: 2 }', 'r2 agent stopped\nr2 agent goes on\n');
    await hears('r1', 'r2', false);
    await stopped;
    await hears('r1', 'r2', true);
  });

  test('an agent whose state is destroyed is dead, and remembers nothing', async () => {
    const state = join(labDirectory(name), 'r1', 'state');
    expect(readdirSync(state)).not.toEqual([]);
    await step('destroyState: r1', 'r1 state destroyed\n');
    await until(
      () => isAgentAlive('r1'),
      (alive) => !alive,
    );
    expect(existsSync(state)).toBe(false);
  });

  test('a server that is killed serves no more, while its agent does', async () => {
    const ask = ['curl', '-s', '-m', '4', '-o', '/dev/null', '-w', '%{http_code}', 'http://10.77.0.12/'];
    const answered = async (): Promise<string> => (await manycast('lab', 'exec', name, 'c1', '--', ...ask)).stdout;
    expect(await answered()).toBe('200');
    await step('kill: { server: r2 }', 'r2 server killed\n');
    await until(answered, (code) => code === '000');
    expect(await isAgentAlive('r2')).toBe(true);
  });

  test('a host that is killed has no cable and no process left', async () => {
    await step('kill: { host: r3 }', 'r3 host killed\n');
    await until(
      () => on(name, 'sw', 'ip', 'netns', 'pids', `mc-${name}-r3`),
      (pids) => pids.trim() === '',
    );
    expect(await on(name, 'sw', 'ip', '-brief', 'link', 'show', 'r3')).toContain('DOWN');
    expect(await isAgentAlive('r3')).toBe(false);
    expect(await isAgentAlive('r2')).toBe(true);
  });

  test.each([
    ['cut: r4', 'cut: no such replica, allowed are r1, r2, r3, coordinator, member'],
    ['cut', 'a step has one key, allowed are wait, moved, policy, move,'],
    ['burn: r1', 'burn: unknown step, allowed are wait, moved, policy, move,'],
    ['moved: 3', 'moved: there are no clients that could tell'],
    ['cut: [', 'not YAML: '],
  ])('a step that is none is refused: %s', async (text, complaint) => {
    const refused = await manycast('lab', 'step', name, text);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(complaint);
    expect(refused.stderr.trimEnd()).not.toContain('\n');
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
