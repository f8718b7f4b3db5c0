import { createSocket as createPlainSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { DatagramSocket } from '../../src/agent/datagram-application.ts';
import { openSdkEndpoint, type SdkEndpoint } from '../../src/agent/sdk-endpoint.ts';
import { createSocketDataPlane } from '../../src/dataplane/socket.ts';
import { bootClock } from '../../src/platform/boot-clock.ts';
import { createSocket } from '../../src/sdk/datagram-socket.ts';
import { Datagrams } from '../../src/sdk/datagrams.ts';
import { defaultSocketPath } from '../../src/sdk/process-transfers.ts';
import { serviceWith, tableOf } from '../contract/data-plane-contract.ts';

const host = '127.7.4.1';
const closing: (() => unknown)[] = [];
let path = '';

beforeEach(() => {
  const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
  closing.push(() => rmSync(directory, { recursive: true }));
  path = join(directory, 'sdk.socket');
});

afterEach(async () => {
  for (let close = closing.pop(); close; close = closing.pop()) await close();
});

async function bound(socket: Socket, port = 0): Promise<Socket> {
  socket.bind(port, host);
  closing.push(() => socket.close());
  await once(socket, 'listening');
  return socket;
}

/** What a socket takes until `last`, which is sent again and again, is among it. */
async function takenUntil(socket: Socket, last: string): Promise<string[]> {
  const client = await bound(createPlainSocket('udp4'));
  const taken: string[] = [];
  const note = (message: Buffer) => void taken.push(String(message));
  socket.on('message', note);
  while (!taken.includes(last)) {
    client.send(last, socket.address().port, host);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  socket.off('message', note);
  return [...new Set(taken)];
}

/** Over the loopback device what was sent is queued, or dropped, by then. */
function sent(client: Socket, text: string, port: number): Promise<unknown> {
  return new Promise((resolve) => client.send(text, port, host, resolve));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function agent(port: number): Promise<{
  plane: ReturnType<typeof createSocketDataPlane>;
  ports: Map<number, DatagramSocket>;
  endpoint: SdkEndpoint;
  lease(ms: number): number;
}> {
  const service = serviceWith('0.0.0.0', { ports: [{ protocol: 'udp', port }] });
  const plane = createSocketDataPlane(bootClock, service);
  const ports = new Map<number, DatagramSocket>();
  const endpoint = await openSdkEndpoint(path, { node: 'r1', datagrams: { plane, ports, onPassed() {} } });
  closing.push(() => endpoint.close());
  await plane.apply(tableOf(service, [0]));
  let mark = 0;
  const lease = (ms: number): number => {
    plane.arm('lease', ++mark, ms);
    plane.grant('lease', mark);
    return bootClock.now() + ms;
  };
  return { plane, ports, endpoint, lease };
}

test.skipIf(existsSync(defaultSocketPath))('without an agent on the machine a socket is a plain one', async () => {
  vi.stubEnv('MANYCAST_SDK_SOCKET', undefined);
  closing.push(() => vi.unstubAllEnvs());
  const heard: string[] = [];
  const socket = await bound(createSocket('udp4', (message) => heard.push(String(message))));
  expect(await takenUntil(socket, 'first')).toEqual(['first']);
  expect(heard[0]).toBe('first');
});

test('a socket takes nothing before its agent is there, and sends nothing', async () => {
  const socket = createPlainSocket('udp4');
  new Datagrams(path).add(socket);
  await bound(socket);
  const { port } = socket.address();
  const client = await bound(createPlainSocket('udp4'));
  const answers: string[] = [];
  client.on('message', (message) => answers.push(String(message)));
  expect(
    await new Promise((resolve) => socket.send('x', client.address().port, host, (...told) => resolve(told))),
  ).toEqual([null, 0]);
  await sent(client, 'early', port);
  const { ports, lease } = await agent(port);
  await until(() => ports.size === 1);
  await sent(client, 'not leased', port);
  lease(60_000);
  expect(await takenUntil(socket, 'late')).toEqual(['late']);
  socket.send('answer', client.address().port, host);
  await until(() => answers.length > 0);
  expect(answers).toEqual(['answer']);
});

test('where the kernel splits elsewhere a socket takes whatever comes', async () => {
  const endpoint = await openSdkEndpoint(path, { node: 'r1' });
  closing.push(() => endpoint.close());
  const socket = createPlainSocket('udp4');
  new Datagrams(path).add(socket);
  await bound(socket);
  expect(await takenUntil(socket, 'first')).toEqual(['first']);
});

test('when the agent is gone a socket takes nothing more, and its share again from the next', async () => {
  const socket = createPlainSocket('udp4');
  new Datagrams(path).add(socket);
  await bound(socket);
  const { port } = socket.address();
  const first = await agent(port);
  await until(() => first.ports.size === 1);
  first.lease(60_000);
  expect(await takenUntil(socket, 'first')).toEqual(['first']);
  await first.endpoint.close();
  // The agent's end shuts it before it lets go of it.
  await until(() => first.ports.size === 0);
  const client = await bound(createPlainSocket('udp4'));
  await sent(client, 'meanwhile', port);
  const second = await agent(port);
  await until(() => second.ports.size === 1);
  second.lease(60_000);
  expect(await takenUntil(socket, 'last')).toEqual(['last']);
});

test('of two sockets on one port of a host, one has the share', async () => {
  const [one, two] = [0, 1].map(() => createPlainSocket({ type: 'udp4', reuseAddr: true })) as [Socket, Socket];
  const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
  new Datagrams(path).add(one);
  await bound(one);
  const { port } = one.address();
  const { ports, plane } = await agent(port);
  await until(() => ports.size === 1);
  new Datagrams(path).add(two);
  await bound(two, port);
  expect((await warned).message).toBe(
    `the socket on port ${port} takes no datagrams: another socket of this host has the share of that port`,
  );
  expect(plane.deciders()).toEqual(['kernel']);
});
