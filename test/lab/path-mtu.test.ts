import { afterAll, beforeAll, expect, test } from 'vitest';
import { labName, leftovers, manycast, on, ownerOf, serviceAddress, statusOf } from './lab-under-test.ts';

const name = labName('m');
const bodyBytes = 300_000;
/** What the link behind the router carries; the client at its end believes in 1500, so that its MSS does not give it away. */
const farMtu = 1280;
const router = '10.77.1.1';
const far = '10.78.0.200';
const server = `exec '${process.execPath}' -e 'require("http").createServer((q, s) => s.end(Buffer.alloc(${bodyBytes}))).listen(80)'`;

beforeAll(async () => {
  const size = ['--replicas', '3', '--clients', '2', '--addresses', '1'];
  expect(await manycast('lab', 'up', name, ...size, '--serve', server)).toMatchObject({ code: 0 });
  // c1 routes to a client further away, on a cable whose other end c2 holds.
  await on(name, 'sw', 'ip', 'link', 'add', 'far1', 'type', 'veth', 'peer', 'name', 'far2');
  await on(name, 'sw', 'ip', 'link', 'set', 'far1', 'netns', `mc-${name}-c1`);
  await on(name, 'sw', 'ip', 'link', 'set', 'far2', 'netns', `mc-${name}-c2`);
  await on(
    name,
    'c1',
    'sh',
    '-c',
    `ip address add 10.78.0.1/24 dev far1 && ip link set far1 mtu ${farMtu} up && echo 1 > /proc/sys/net/ipv4/ip_forward`,
  );
  await on(
    name,
    'c2',
    'sh',
    '-c',
    `ip link set eth0 down && ip address add ${far}/24 dev far2 && ip link set far2 up && ip route add default via 10.78.0.1`,
  );
  for (const replica of ['r1', 'r2', 'r3']) {
    await on(name, replica, 'ip', 'route', 'add', '10.78.0.0/24', 'via', router);
  }
});

afterAll(async () => {
  await manycast('lab', 'down', name);
  expect(leftovers(name)).toEqual([]);
});

test("a router's complaint about the path MTU reaches the owner of the client's slot, not only the owner of the router's", async () => {
  const status = await statusOf(name, 'r1');
  expect([ownerOf(status, router), ownerOf(status, far)]).toEqual(['r1', 'r3']);
  const body = await on(
    name,
    'c2',
    'curl',
    '-s',
    '-m',
    '10',
    '-o',
    '/dev/null',
    '-w',
    '%{size_download}',
    `http://${serviceAddress}/`,
  );
  expect(Number(body)).toBe(bodyBytes);
  const route = await on(name, 'r3', 'ip', 'route', 'get', far, 'from', serviceAddress);
  expect(route).toContain(`mtu ${farMtu}`);
});
