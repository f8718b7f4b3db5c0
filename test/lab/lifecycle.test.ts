import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  command,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  startManycast,
  statusOf,
  until,
} from './lab-under-test.ts';

describe('an agent and its host', () => {
  const name = labName('h');
  const config = join(labDirectory(name), 'r2', 'agent.yaml');
  /** The sysctls that an agent sets, the addresses of the host, its tables. */
  const hostState = async (): Promise<string> =>
    on(
      name,
      'r2',
      'sh',
      '-c',
      'cat /proc/sys/net/ipv4/conf/all/arp_ignore /proc/sys/net/ipv4/conf/all/arp_announce; ip -brief -4 address; nft list tables',
    );
  const untouched = /^0\n0\nlo +UNKNOWN +127\.0\.0\.1\/8 *\neth0@\S+ +UP +10\.77\.0\.12\/16 *\n$/;

  beforeAll(async () => {
    const up = await manycast('lab', 'up', name, '--replicas', '3', '--clients', '1', '--addresses', '1');
    expect(up).toMatchObject({ code: 0 });
  });
  afterAll(async () => {
    await manycast('lab', 'down', name);
    expect(leftovers(name)).toEqual([]);
  });

  function agentPid(): number {
    const state = JSON.parse(readFileSync(join(labDirectory(name), 'lab.json'), 'utf8')) as {
      agents: { pid: number }[];
    };
    return state.agents[1]?.pid ?? 0;
  }

  function startAgent(): ChildProcess {
    return startManycast('lab', 'exec', name, 'r2', '--', process.execPath, command, 'agent', '-c', config);
  }

  test('what a killed agent left is undone by the next one, which undoes its own on SIGTERM', async () => {
    expect(await hostState()).toContain('10.77.0.100/32');
    await on(name, 'r2', 'kill', '-9', String(agentPid()));
    expect(await hostState()).toMatch(/^1\n2\n/);
    expect(await hostState()).toContain('table netdev mc_web');

    const agent = startAgent();
    const gone = once(agent, 'exit');
    await until(
      () => statusOf(name, 'r2').catch(() => null),
      (status) => status?.verdict === 'serving' && status.settled,
    );
    expect(await hostState()).toContain('10.77.0.100/32');
    agent.kill('SIGTERM');
    expect(await gone).toEqual([0, null]);
    expect(await hostState()).toMatch(untouched);
  });

  test('the others take over from an agent that leaves, before it is gone', async () => {
    await until(
      () => statusOf(name, 'r1'),
      ({ owners, settled }) => settled && owners.map(({ count }) => count).join() === '128,128',
    );
  });

  test('a second agent on the same host is refused and touches nothing of the first', async () => {
    // Not the leases, which come and go.
    const rules = (): Promise<string> =>
      on(name, 'r1', 'sh', '-c', 'nft -t list ruleset; nft list map netdev mc_web slots');
    const before = await rules();
    const first = join(labDirectory(name), 'r1', 'agent.yaml');
    const second = await manycast('lab', 'exec', name, 'r1', '--', process.execPath, command, 'agent', '-c', first);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain('cannot listen on 10.77.0.11 port 7746');
    const counters = /packets \d+ bytes \d+/g;
    expect((await rules()).replace(counters, '')).toBe(before.replace(counters, ''));
  });
});

describe('nothing is left behind', () => {
  test('after a lab that cannot come up, which says why in a line', async () => {
    const name = labName('f');
    const ran = await manycast('lab', 'up', name, '--ports', '80/sctp');
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('service.ports[0]: "80/sctp" is not allowed, allowed is PORT/tcp or PORT/udp');
    expect(leftovers(name)).toEqual([]);
  });

  test('after a lab whose server ends at once, which shows what the server said', async () => {
    const name = labName('s');
    const ran = await manycast('lab', 'up', name, '--serve', 'echo no such thing; exit 3');
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('the server of r1 ended:\nno such thing');
    expect(leftovers(name)).toEqual([]);
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('after %s in the middle of a scenario', async (signal) => {
    const running = startManycast('scenario', 'run', 'scenarios/demo.yaml', '--on', 'lab');
    const exited = once(running, 'exit');
    for await (const line of createInterface({ input: running.stderr ?? process.stdin })) {
      if (line.includes('requests answered')) break;
    }
    expect(leftovers('demo')).not.toEqual([]);
    running.kill(signal);
    expect(await exited).toEqual([130, null]);
    expect(leftovers('demo')).toEqual([]);
  });

  test('after Ctrl-C while a lab comes up, which is said in a line', async () => {
    const name = labName('i');
    const running = startManycast('lab', 'up', name);
    const exited = once(running, 'exit');
    const said: string[] = [];
    for await (const line of createInterface({ input: running.stderr ?? process.stdin })) {
      said.push(line);
      if (line.startsWith('agents:')) running.kill('SIGINT');
    }
    expect(said.at(-1)).toBe('manycast: interrupted, everything is taken down');
    expect(await exited).toEqual([1, null]);
    expect(leftovers(name)).toEqual([]);
  });

  test('after `lab down` of a scenario whose own process was killed', async () => {
    const running = startManycast('scenario', 'run', 'scenarios/demo.yaml', '--on', 'lab');
    const exited = once(running, 'exit');
    for await (const line of createInterface({ input: running.stderr ?? process.stdin })) {
      if (line.includes('requests answered')) running.kill('SIGKILL');
    }
    expect(await exited).toEqual([null, 'SIGKILL']);
    expect((await manycast('lab', 'down', 'demo')).stdout).toBe('demo is down\n');
    expect(leftovers('demo')).toEqual([]);
    expect((await manycast('lab', 'down', 'demo')).stdout).toBe('there is no lab "demo"\n');
  });

  test('a second lab of the same name is refused and the first stays', async () => {
    const name = labName('d');
    const size = ['--replicas', '1', '--clients', '1', '--addresses', '1'];
    expect(await manycast('lab', 'up', name, ...size)).toMatchObject({ code: 0 });
    const again = await manycast('lab', 'up', name, ...size);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain(`the lab "${name}" is up already`);
    expect((await statusOf(name, 'r1')).verdict).toBe('serving');
    expect(await manycast('lab', 'down', name)).toMatchObject({ code: 0 });
    expect(leftovers(name)).toEqual([]);
  });
});
