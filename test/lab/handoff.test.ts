import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  addressesOf,
  command,
  expectOwnersToAnswer,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  type Ran,
  serviceAddress,
  startManycast,
  statusOf,
  until,
} from './lab-under-test.ts';

const name = labName('h');
/** Ends when a test does not: agents that are started here by hand. */
const started: ReturnType<typeof startManycast>[] = [];

beforeAll(async () => {
  const size = ['--replicas', '4', '--clients', '1', '--addresses', '16'];
  expect(await manycast('lab', 'up', name, ...size)).toMatchObject({ code: 0 });
  // As many firewalls do: every replica sees frames of connections that it has never heard of, and must not suffer from them.
  const firewall = `add table inet fw
    add chain inet fw input { type filter hook input priority 0; policy accept; }
    add rule inet fw input ct state invalid drop`;
  for (const replica of ['r1', 'r2', 'r3', 'r4']) await on(name, replica, 'nft', firewall);
});
afterAll(async () => {
  await manycast('lab', 'down', name);
  for (const child of started) child.kill('SIGKILL');
  expect(leftovers(name)).toEqual([]);
});

/** A command of manycast, as a person gives it on a replica. */
function told(replica: string, ...args: string[]): Promise<Ran> {
  return manycast('lab', 'exec', name, replica, '--', process.execPath, command, ...args);
}

/** One connection from each address, asked ten times a second: who answers whom, and what ends one. */
interface Sessions {
  readonly replicaOf: ReadonlyMap<string, string>;
  readonly ended: readonly string[];
  readonly answers: () => number;
  stop(): void;
}

async function openSessions(addresses: readonly string[]): Promise<Sessions> {
  const program = `
    for (const localAddress of ${JSON.stringify(addresses)}) {
      const socket = require('net').connect({ host: '${serviceAddress}', port: 80, localAddress });
      const ask = () => socket.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n');
      socket.once('connect', ask);
      socket.on('data', (data) => {
        const replica = /^r\\d+$/m.exec(String(data).split('\\r\\n\\r\\n')[1] ?? '');
        console.log(JSON.stringify({ localAddress, replica: replica && replica[0] }));
        setTimeout(ask, 100);
      });
      socket.once('close', () => console.log(JSON.stringify({ localAddress, ended: true })));
      socket.once('error', () => {});
    }`;
  const child = startManycast('lab', 'exec', name, 'c1', '--', process.execPath, '-e', program);
  const replicaOf = new Map<string, string>();
  const ended: string[] = [];
  let answers = 0;
  if (child.stdout) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = JSON.parse(line) as { localAddress: string; replica?: string; ended?: boolean };
      if (said.ended) return void ended.push(said.localAddress);
      answers++;
      const before = replicaOf.get(said.localAddress);
      if (said.replica && before === undefined) replicaOf.set(said.localAddress, said.replica);
      else if (said.replica !== before)
        ended.push(`${said.localAddress} is answered by ${said.replica}, not ${before}`);
    });
  }
  await until(
    async () => replicaOf.size,
    (size) => size === addresses.length,
  );
  return { replicaOf, ended, answers: () => answers, stop: () => void child.kill('SIGTERM') };
}

/** Every session has been answered some more times. */
async function goOn({ answers, replicaOf, ended }: Sessions): Promise<void> {
  const before = answers();
  await until(
    async () => answers(),
    (now) => now >= before + 5 * replicaOf.size,
  );
  expect(ended).toEqual([]);
}

function agentPid(replica: number): string {
  const state = JSON.parse(readFileSync(join(labDirectory(name), 'lab.json'), 'utf8')) as { agents: { pid: number }[] };
  return String(state.agents[replica - 1]?.pid);
}

test('drained, a replica gets no new connections, and those it has go on; undrained, it has its share again', async () => {
  const addresses = await addressesOf(name, 'c1');
  const sessions = await openSessions(addresses);
  const drained = await told('r1', 'drain', 'r2');
  expect(drained).toMatchObject({ code: 0, stdout: expect.stringContaining('drain r2 adopted') });
  expect(drained.stdout).toMatch(/r2 has no share; connections of \d+ slots may go on there/);
  const status = await statusOf(name, 'r1');
  expect(status.owners.find((each) => each.name === 'r2')?.count).toBe(0);
  await expectOwnersToAnswer(name, 'c1', status);
  await goOn(sessions);
  expect(await told('r3', 'undrain', 'r2')).toMatchObject({ code: 0, stdout: expect.stringContaining('adopted') });
  expect((await statusOf(name, 'r4')).owners.map(({ count }) => count)).toEqual([64, 64, 64, 64]);
  await goOn(sessions);
  sessions.stop();
});

test('slots are moved by hand, after a look at what that would do', async () => {
  const sessions = await openSessions(await addressesOf(name, 'c1'));
  const look = await told('r1', 'move', '0-255', '--to', 'r4', '--dry-run');
  expect(look.stdout.split('\n').filter((line) => line.endsWith('to r4: would move')).length).toBeGreaterThan(0);
  expect((await statusOf(name, 'r1')).owners.find((each) => each.name === 'r4')?.count).toBe(64);
  expect(await told('r1', 'move', '0-255', '--to', 'r4')).toMatchObject({ code: 0 });
  expect((await statusOf(name, 'r2')).owners.find((each) => each.name === 'r4')?.slots).toBe('0-255');
  await goOn(sessions);
  expect(await told('r1', 'move', '0-300', '--to', 'r4')).toMatchObject({
    code: 1,
    stderr: 'manycast: slot 300 does not exist, allowed are 0 to 255\n',
  });
  expect(await told('r1', 'move', '0', '--to', 'r9')).toMatchObject({
    code: 1,
    stderr: 'manycast: move to r9: "r9" is no member, allowed are r1, r2, r3, r4\n',
  });
  sessions.stop();
});

test('an agent that ends for an upgrade leaves its connections alone, and the next one goes on from its kernel', async () => {
  const sessions = await openSessions(await addressesOf(name, 'c1'));
  await on(name, 'r4', 'kill', '-HUP', agentPid(4));
  const config = join(labDirectory(name), 'r4', 'agent.yaml');
  started.push(startManycast('lab', 'exec', name, 'r4', '--', process.execPath, command, 'agent', '-c', config));
  await until(
    () => statusOf(name, 'r4').catch(() => null),
    (status) => status?.verdict === 'serving' && status.settled,
  );
  await goOn(sessions);
  sessions.stop();
});

test('who votes is changed one at a time, and what cannot be is said', async () => {
  const voters = async () =>
    ((await statusOf(name, 'r3')) as unknown as { voters: { name: string }[] }).voters.map((each) => each.name);
  expect(await voters()).toEqual(['r1', 'r2', 'r3']);
  expect(await told('r2', 'cluster', 'add', 'r4')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('r1, r2, r3, r4 vote'),
  });
  expect(await told('r4', 'cluster', 'remove', 'r1')).toMatchObject({ code: 0 });
  expect(await told('r4', 'cluster', 'replace', 'r2', 'r1')).toMatchObject({ code: 0 });
  expect(await until(voters, (names) => !names.includes('r2'))).toEqual(['r1', 'r3', 'r4']);
  expect(await told('r1', 'cluster', 'add', 'r9')).toMatchObject({
    code: 1,
    stderr: 'manycast: voters add r9: "r9" is not in control.peers, allowed are r1, r2, r3, r4\n',
  });
  expect(await told('r1', 'cluster', 'init')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^manycast: init: this replica is in a cluster already, at epoch \d+\n$/),
  });
});
