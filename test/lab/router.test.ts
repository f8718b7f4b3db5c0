import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  addressesOf,
  expectOwnersToAnswer,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  ownerOf,
  restingStatusOf,
  type StatusSeen,
  serviceAddress,
  statusOf,
  until,
} from './lab-under-test.ts';
import { linesOf, startTalk } from './talk.ts';

const name = labName('e');
const program = (path: string): string => fileURLToPath(new URL(`../../dist/lab/${path}`, import.meta.url));
const bodyBytes = 300_000;
const large = `require("http").createServer((q, s) => s.end(Buffer.alloc(${bodyBytes}))).listen(81)`;
const serve = [program('http-server-main.js'), program('tcp-echo-server-main.js')].map((each) => `'${each}'`);
const servers = [...serve, `-e '${large}'`].map((each) => `'${process.execPath}' ${each}`).join(' & exec ');

beforeAll(async () => {
  const size = ['--replicas', '3', '--clients', '2', '--addresses', '14', '--delivery', 'router'];
  const ports = '80/tcp,7/tcp,81/tcp';
  expect(await manycast('lab', 'up', name, ...size, '--serve', servers, '--ports', ports)).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await manycast('lab', 'down', name);
  expect(leftovers(name)).toEqual([]);
});

async function setPolicy(policy: string, isDone: (status: StatusSeen) => boolean): Promise<StatusSeen> {
  writeFileSync(join(labDirectory(name), 'policy.yaml'), policy);
  const status = await until(
    () => statusOf(name, 'r1'),
    (each) => each.settled && isDone(each),
  );
  return status;
}

const isEven = ({ owners }: StatusSeen): boolean => owners.length === 3 && owners.every(({ count }) => count >= 85);
const countOf = (status: StatusSeen, replica: string): number =>
  status.owners.find((each) => each.name === replica)?.count ?? 0;

test('requests of 30 client addresses are answered by the owner of each, and by nobody else', async () => {
  const status = await statusOf(name, 'r1');
  expect(status.owners.map(({ count }) => count)).toEqual([86, 85, 85]);
  const before = await Promise.all(['r1', 'r2', 'r3'].map(received));
  for (const client of ['c1', 'c2']) await expectOwnersToAnswer(name, client, status);
  const dropped = (await Promise.all(['r1', 'r2', 'r3'].map(received))).map((each, i) => each - (before[i] ?? 0));
  expect(dropped).toEqual([0, 0, 0]);
});

/** Packets for the service that a replica got although they are others'. */
async function received(replica: string): Promise<number> {
  const counter = await on(name, replica, 'nft', 'list', 'counter', 'netdev', 'mc_web', 'dropped');
  return Number(/packets (\d+)/.exec(counter)?.[1]);
}

test('nobody resolves the service address, and no replica is in its group', async () => {
  expect(await on(name, 'rt', 'ip', 'neighbour', 'show', serviceAddress)).toBe('');
  expect(await on(name, 'r1', 'ip', 'maddress', 'show', 'dev', 'eth0')).not.toContain('239.77.0.100');
});

test('servers bind to the service address, although it is no local one to most packets', async () => {
  const listen = `require('net').createServer().listen(82, '${serviceAddress}', () => process.exit(7))`;
  expect(await manycast('lab', 'exec', name, 'r1', '--', process.execPath, '-e', listen)).toMatchObject({ code: 7 });
  expect(await on(name, 'r1', 'curl', '-s', '-m', '2', `http://${serviceAddress}/`)).toBe('r1\n');
});

test('a host whose rules are gone answers nobody, and serves again when its agent has put them back', async () => {
  const status = await restingStatusOf(name, 'r1');
  const address = (await addressesOf(name, 'c1')).find((each) => ownerOf(status, each) === 'r2') ?? '';
  const ask = () =>
    manycast(
      ...[
        'lab',
        'exec',
        name,
        'c1',
        '--',
        'curl',
        '-s',
        '-m',
        '1',
        '--interface',
        address,
        `http://${serviceAddress}/`,
      ],
    );
  expect(await ask()).toMatchObject({ stdout: 'r2\n' });
  const { agents } = JSON.parse(readFileSync(join(labDirectory(name), 'lab.json'), 'utf8')) as {
    agents: { pid: number }[];
  };
  const agent = String(agents[1]?.pid);
  await on(name, 'r2', 'sh', '-c', `kill -STOP ${agent} && nft flush ruleset`);
  expect(await ask()).toMatchObject({ code: 28, stdout: '' });
  await on(name, 'r2', 'kill', '-CONT', agent);
  const again = await until(
    () => statusOf(name, 'r2'),
    ({ verdict, settled, owners }) => verdict === 'serving' && settled && owners.length === 3,
  );
  expect((await ask()).stdout.trim()).toBe(ownerOf(again, address));
}, 60_000);

test.each([
  ['rules', 'nft flush ruleset'],
  ['routing rules', 'for pref in 7746 7747 7748; do while ip rule delete pref $pref; do :; done; done 2>/dev/null'],
])('a router whose %s another program removes puts them back', async (_what, removal) => {
  const listing = 'ip rule && nft list chains';
  const standing = (): Promise<string> => on(name, 'rt', 'sh', '-c', listing);
  const before = await standing();
  // At once, before the router can have looked.
  expect(await on(name, 'rt', 'sh', '-c', `${removal}; ${listing}`)).not.toBe(before);
  await until(standing, (now) => now === before);
  await expectOwnersToAnswer(name, 'c1', await statusOf(name, 'r1'));
});

test("a complaint about the path MTU, by a router on the way or by the edge itself, reaches the owner of the client's slot", async () => {
  const far = '10.78.0.200';
  await on(
    name,
    'sw',
    'sh',
    '-c',
    `ip link add far1 type veth peer name far2 && ip link set far1 netns mc-${name}-c1 && ip link set far2 netns mc-${name}-c2`,
  );
  await on(
    name,
    'c1',
    'sh',
    '-c',
    'ip address add 10.78.0.1/24 dev far1 && ip link set far1 mtu 1280 up && echo 1 > /proc/sys/net/ipv4/ip_forward',
  );
  await on(
    name,
    'c2',
    'sh',
    '-c',
    `ip address add ${far}/24 dev far2 && ip link set far2 up && ip route add ${serviceAddress} via 10.78.0.1`,
  );
  await on(name, 'rt', 'ip', 'route', 'add', '10.78.0.0/24', 'via', '10.77.1.1');
  const status = await statusOf(name, 'r1');
  const owner = ownerOf(status, far);
  expect(ownerOf(status, '10.77.1.1')).not.toBe(owner);
  await expectPathMtu(owner, far, 1280);

  await on(name, 'rt', 'ip', 'link', 'set', 'eth1', 'mtu', '1300');
  const near = (await addressesOf(name, 'c2')).find((each) => ownerOf(status, each) === 'r2') ?? '';
  await expectPathMtu('r2', near, 1300);
  await on(name, 'rt', 'ip', 'link', 'set', 'eth1', 'mtu', '1500');
}, 60_000);

/** A client of the second machine fetches more than a packet's worth; its owner knows then what the path carries. */
async function expectPathMtu(replica: string, client: string, mtu: number): Promise<void> {
  const url = `http://${serviceAddress}:81/`;
  const options = ['-s', '-m', '10', '-o', '/dev/null', '-w', '%{size_download}', '--interface', client];
  expect(await on(name, 'c2', 'curl', ...options, url)).toBe(String(bodyBytes));
  expect(await on(name, replica, 'ip', 'route', 'get', client, 'from', serviceAddress)).toContain(`mtu ${mtu}`);
}

test('connections stay with their replica through moves, and break none; new ones go to the new owner', async () => {
  await setPolicy('strategy: equal\n', isEven);
  const addresses = (await addressesOf(name, 'c1')).slice(0, 14);
  const talk = startTalk(name, 'c1', addresses);
  const first = await talk.progress();
  for (const shares of ['{ r2: 0-255 }', '{ r3: 0-255 }', '{ r1: 0-99, r3: 100-255 }']) {
    const wanted = Number(/r3: 0-255/.test(shares)) * 256;
    const status = await setPolicy(`strategy: explicit\nshares: ${shares}\n`, (each) =>
      shares.includes('r1') ? countOf(each, 'r1') === 100 : countOf(each, wanted ? 'r3' : 'r2') === 256,
    );
    expect(status.holders.length).toBeGreaterThan(0);
    await expectOwnersToAnswer(name, 'c2', status);
    // Each connection goes on after the flip.
    const now = await talk.progress();
    const later = await until(talk.progress, (each) => addresses.every((a) => linesOf(each, a) > linesOf(now, a) + 2));
    expect(Object.values(later).map(({ broken }) => broken)).toEqual(addresses.map(() => null));
  }
  const last = await talk.end();
  expect(addresses.map((each) => last[each]?.replicas)).toEqual(addresses.map((each) => first[each]?.replicas));
}, 60_000);

test('with handoff `tag` the router sends connections on to the replica that has them, and forgets each that has ended', async () => {
  const policy = (shares: string): string => `strategy: explicit\nhandoff: tag\nshares: ${shares}\n`;
  await setPolicy(policy('{ r1: 0-255 }'), (each) => countOf(each, 'r1') === 256);
  const addresses = (await addressesOf(name, 'c1')).slice(0, 14);
  const talk = startTalk(name, 'c1', addresses);
  await talk.progress();
  expect((await routed()).tags).toBe(0);
  const status = await setPolicy(policy('{ r2: 0-127, r3: 128-255 }'), (each) => countOf(each, 'r1') === 0);
  const before = await until(routed, ({ tags }) => tags === addresses.length);

  const now = await talk.progress();
  const later = await until(talk.progress, (each) => addresses.every((a) => linesOf(each, a) > linesOf(now, a) + 10));
  expect(Object.values(later)).toEqual(
    addresses.map(() => expect.objectContaining({ replicas: ['r1'], broken: null })),
  );
  const { packets } = await routed();
  // A line of each is a packet at least, and none goes by its slot.
  expect(packets.tagged - before.packets.tagged).toBeGreaterThan(10 * addresses.length);
  expect(packets.forwarded).toBe(before.packets.forwarded);
  await expectOwnersToAnswer(name, 'c2', status);

  await talk.end();
  await until(routed, ({ tags }) => tags === 0);
}, 60_000);

interface Routed {
  readonly tags: number;
  readonly packets: { readonly tagged: number; readonly forwarded: number };
}

/** What `manycast router status` says of the service. */
async function routed(): Promise<Routed> {
  const socket = join(labDirectory(name), 'rt', 'router.sock');
  const { stdout } = await manycast('router', 'status', '--socket', socket, '--json');
  const { services } = JSON.parse(stdout) as { services: [Routed] };
  return services[0];
}

test('when a replica dies its clients are served again by those that take its slots over', async () => {
  await setPolicy('strategy: equal\n', isEven);
  expect(await manycast('lab', 'step', name, 'kill: { host: r3 }')).toMatchObject({ code: 0 });
  const status = await until(
    () => statusOf(name, 'r1'),
    ({ owners, settled }) => settled && !owners.some((each) => each.name === 'r3'),
  );
  for (const client of ['c1', 'c2']) await expectOwnersToAnswer(name, client, status);
}, 60_000);
