import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  addressesOf,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  ownerOf,
  restingStatusOf,
  type StatusSeen,
  startManycast,
  statusOf,
  until,
} from './lab-under-test.ts';
import { labPrograms, routerStatus } from './router-under-test.ts';

const { labNamed, restartRouter } = await labPrograms();
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const client = here('../../dist/lab/datagram-client-main.js');
const group = '239.77.0.100';

/** What `group-client-main.mjs` says. */
interface Seen {
  readonly sent: number;
  readonly answered: number;
  readonly last: Readonly<Record<string, string>>;
  readonly twice: readonly unknown[];
}

interface Sending {
  seen(): Promise<Seen>;
  /** Sends no more. */
  stop(): Promise<Seen>;
  end(): void;
}

function startSending(name: string): Sending {
  const child = startManycast('lab', 'exec', name, 'c1', '--', process.execPath, here('group-client-main.mjs'));
  const lines = createInterface({ input: child.stdout ?? process.stdin })[Symbol.asyncIterator]();
  const say = async (line: string): Promise<Seen> => {
    child.stdin?.write(`${line}\n`);
    return JSON.parse(String((await lines.next()).value)) as Seen;
  };
  return {
    ...{ seen: () => say(''), stop: () => say('stop') },
    end: () => child.stdin?.end(),
  };
}

/** One datagram from each address of the client machine: exactly one answer each, and that by the owner, from its own address. */
async function expectOwnersToAnswerOnce(name: string, status: StatusSeen): Promise<void> {
  const addresses = await addressesOf(name, 'c1');
  const expected = addresses.map((each) => {
    const owner = ownerOf(status, each);
    return [each, `10.77.0.1${owner.slice(1)} ${owner} hello`];
  });
  const lines = (await on(name, 'c1', process.execPath, client)).trim().split('\n');
  // The last word is how many of this client the replica has answered.
  const answers = lines.map((line) => line.replace(/ \d+$/, '').split(': '));
  expect(Object.fromEntries(answers)).toEqual(Object.fromEntries(expected));
}

const owns = (status: StatusSeen, replica: string): string =>
  status.owners.find(({ name }) => name === replica)?.slots ?? '';

describe('a private group behind a router', () => {
  const name = labName('v');
  const strangers: ChildProcess[] = [];
  beforeAll(async () => {
    const size = ['--replicas', '3', '--clients', '1', '--addresses', '13', '--delivery', 'group', '--routers', '1'];
    expect(await manycast('lab', 'up', name, ...size)).toMatchObject({ code: 0 });
  }, 120_000);
  afterAll(async () => {
    for (const each of strangers) each.kill();
    await manycast('lab', 'down', name);
    expect(leftovers(name)).toEqual([]);
  }, 120_000);

  async function setShares(shares: string, isDone: (status: StatusSeen) => boolean): Promise<StatusSeen> {
    writeFileSync(join(labDirectory(name), 'policy.yaml'), `strategy: explicit\nshares: ${shares}\n`);
    return until(
      () => statusOf(name, 'r1'),
      (each) => each.settled && isDone(each),
    );
  }

  test('each datagram to the group is answered once, by the owner of its sender', async () => {
    await expectOwnersToAnswerOnce(name, await restingStatusOf(name, 'r1'));
    const { packets } = (await routerStatus(name, 'rt')).services[0] ?? {};
    expect(packets).toMatchObject({ forwarded: 14, dropped: 0 });
  }, 120_000);

  test('a host that joins without a signature gets none of them', async () => {
    const namespace = `mc-${name}-x`;
    const address = '10.77.0.99';
    await plugIn(namespace, address);
    const counted = listenIn(namespace, address);
    await run('ip', 'netns', 'exec', namespace, ...impostor(name));
    const status = await until(
      () => routerStatus(name, 'rt'),
      ({ refused }) => (refused.unsigned ?? 0) > 0,
    );
    expect(status.services[0]?.members.map((each) => each.name).sort()).toEqual(['r1', 'r2', 'r3']);
    await expectOwnersToAnswerOnce(name, await statusOf(name, 'r1'));
    // It does hear the group: what a host of its own link sends there.
    const send = `require('dgram').createSocket('udp4').send('near', 7007, '${group}', () => process.exit())`;
    await on(name, 'r1', process.execPath, '-e', send);
    expect(await counted()).toEqual(['10.77.0.11 near']);
  }, 120_000);

  /** One machine more on the replicas' link. */
  async function plugIn(namespace: string, address: string): Promise<void> {
    const ip = (...args: string[]) => run('ip', ...args);
    const onSwitch = ['-n', `mc-${name}-sw`, 'link'];
    await ip('netns', 'add', namespace);
    await ip(...onSwitch, 'add', 'x', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    await ip(...onSwitch, 'set', 'x', 'master', 'br0', 'up');
    await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    await ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0');
  }

  /** All that a member of the group hears on that machine. */
  function listenIn(namespace: string, address: string): () => Promise<string[]> {
    const script = `const socket = require('dgram').createSocket('udp4');
      const heard = [];
      socket.on('message', (datagram, from) => heard.push(from.address + ' ' + datagram));
      socket.bind(7007, () => socket.addMembership('${group}', '${address}'));
      process.stdin.on('data', () => console.log(JSON.stringify(heard)));`;
    const child = spawn('ip', ['netns', 'exec', namespace, process.execPath, '-e', script], { stdio: 'pipe' });
    strangers.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return () =>
      until(
        async () => {
          child.stdin.write('\n');
          return JSON.parse(String((await lines.next()).value)) as string[];
        },
        (heard) => heard.length > 0,
      );
  }

  test('shares move, and no datagram is answered by two', async () => {
    const sending = startSending(name);
    for (const owner of ['r2', 'r3', 'r1']) {
      const status = await setShares(`{ ${owner}: 0-255 }`, (each) => owns(each, owner) === '0-255');
      expect(status.epoch).toBeGreaterThan(0);
      const before = await sending.seen();
      await until(
        () => sending.seen(),
        ({ last, answered }) =>
          answered > before.answered + 100 && Object.values(last).every((replica) => replica === owner),
      );
    }
    const { twice, last } = await sending.seen();
    sending.end();
    expect(twice).toEqual([]);
    expect(Object.keys(last)).toHaveLength(14);
  }, 120_000);

  test('the kernel goes on while the router is started again', async () => {
    const sending = startSending(name);
    await until(
      () => sending.seen(),
      ({ answered }) => answered > 100,
    );
    await restartRouter(labNamed(name).plan, 'rt', 'SIGHUP');
    await until(
      () => routerStatus(name, 'rt').catch(() => null),
      (each) => each?.services[0]?.unclaimed === '',
    );
    const now = await sending.seen();
    await until(
      () => sending.seen(),
      ({ answered }) => answered > now.answered + 100,
    );
    const { sent, twice } = await sending.stop();
    await until(
      () => sending.seen(),
      ({ answered }) => answered === sent,
    );
    sending.end();
    expect(twice).toEqual([]);
  }, 120_000);
});

describe('a public group behind a router', () => {
  const name = labName('w');
  beforeAll(async () => {
    const size = ['--replicas', '2', '--clients', '1', '--addresses', '13', '--delivery', 'group', '--routers', '1'];
    expect(await manycast('lab', 'up', name, ...size, '--public')).toMatchObject({ code: 0 });
  }, 120_000);
  afterAll(async () => {
    await manycast('lab', 'down', name);
    expect(leftovers(name)).toEqual([]);
  }, 120_000);

  test('works with no key at all, and its shares move', async () => {
    expect(existsSync(join(labDirectory(name), 'certificates'))).toBe(false);
    await expectOwnersToAnswerOnce(name, await restingStatusOf(name, 'r1'));
    writeFileSync(join(labDirectory(name), 'policy.yaml'), 'strategy: explicit\nshares: { r1: 100-255, r2: 0-99 }\n');
    const status = await until(
      () => restingStatusOf(name, 'r1'),
      (each) => owns(each, 'r2') === '0-99',
    );
    await expectOwnersToAnswerOnce(name, status);
    const { services, refused } = await routerStatus(name, 'rt');
    expect([services[0]?.access, refused]).toEqual(['public', {}]);
    expect(services[0]?.members.map((each) => each.name).sort()).toEqual(['10.77.0.11', '10.77.0.12']);
  }, 120_000);
});

function impostor(name: string): string[] {
  const config = join(labDirectory(name), 'r1', 'agent.yaml');
  return [process.execPath, here('join-impostor-main.mjs'), config, 'unsigned'];
}

async function run(command: string, ...args: string[]): Promise<void> {
  await promisify(execFile)(command, args);
}
