import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, expect, test } from 'vitest';
import type { DatagramSocket } from '../../src/agent/datagram-application.ts';
import { openSdkEndpoint } from '../../src/agent/sdk-endpoint.ts';
import { defined } from '../../src/base/assert.ts';
import { createSocketDataPlane, type LeaseClock } from '../../src/dataplane/socket.ts';
import { bootClock } from '../../src/platform/boot-clock.ts';
import { serviceWith, tableOf } from '../contract/data-plane-contract.ts';

/** Of slot 1. */
const clientAddress = '127.7.3.1';
const host = '127.7.2.1';
const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (let close = closing.pop(); close; close = closing.pop()) await close();
});

/** A server in a process of its own, and in this one the agent's end; `clock` decides whether that one runs on when it should shut the share. */
async function bench(clock: LeaseClock) {
  const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
  const path = join(directory, 'sdk.socket');
  closing.push(() => rmSync(directory, { recursive: true }));
  const server = spawn(process.execPath, [join(import.meta.dirname, 'datagram-server.mjs'), host], {
    env: { ...process.env, MANYCAST_SDK_SOCKET: path },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  closing.push(() => server.kill('SIGKILL'));
  const lines = createInterface({ input: defined(server.stdout, 'its output') })[Symbol.asyncIterator]();
  const ports = new Map<number, DatagramSocket>();
  const port = Number((await lines.next()).value);
  const service = serviceWith('0.0.0.3', { ports: [{ protocol: 'udp', port }] });
  const plane = createSocketDataPlane(clock, service);
  const endpoint = await openSdkEndpoint(path, {
    node: 'r1',
    answerMs: 60_000,
    datagrams: { plane, ports, onPassed() {} },
  });
  closing.push(() => endpoint.close());
  const client = createSocket('udp4');
  closing.push(() => client.close());
  client.bind(0, clientAddress);
  await once(client, 'listening');
  const answers: string[] = [];
  client.on('message', (message) => answers.push(String(message)));
  await until(() => ports.size > 0);
  await plane.apply(tableOf(service, [1]));
  let mark = 0;
  return {
    ...{ plane, service, server, client, answers, port },
    socket: () => defined(ports.get(port), 'the socket of the server'),
    lease(ms: number): number {
      plane.arm('lease', ++mark, ms);
      plane.grant('lease', mark);
      return clock.now() + ms;
    },
    /** What is answered by the time that `last` is, which may be lost a few times until the lease is known. */
    async answeredUntil(last: string): Promise<string[]> {
      while (!answers.includes(last)) {
        await send(client, last, port);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return [...new Set(answers)];
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function send(client: Socket, text: string, port: number): Promise<unknown> {
  return new Promise((resolve) => client.send(text, port, host, resolve));
}

/** Resolves when it is stopped: a signal takes its time. */
async function stop(server: ChildProcess): Promise<void> {
  server.kill('SIGSTOP');
  await until(() => readFileSync(`/proc/${server.pid}/stat`, 'utf8').split(') ')[1]?.startsWith('T') === true);
}

/** An agent that is stopped does nothing at a lease's end. */
const stoppedClock: LeaseClock = {
  now: bootClock.now,
  wakeAt: (at, call) => (at > 0 ? () => {} : bootClock.wakeAt(at, call)),
};

test('while the agent is stopped its kernel goes on, and the server takes nothing once the lease is over', async () => {
  const { lease, answeredUntil, client, port, socket } = await bench(stoppedClock);
  let over = lease(1000);
  expect(await answeredUntil('first')).toEqual(['first']);
  await until(() => bootClock.now() >= over);
  const before = await socket().counts();
  await send(client, 'meanwhile', port);
  // Asked after the datagram was queued: what is answered is after it was read.
  const after = await socket().counts();
  expect(after).toEqual(before);
  over = lease(60_000);
  expect(await answeredUntil('last')).toEqual(['first', 'last']);
});

test('what waits in a stopped server since the lease was over is never answered, though it is leased again', async () => {
  const { lease, answeredUntil, client, port, server, socket } = await bench(stoppedClock);
  const over = lease(1000);
  expect(await answeredUntil('first')).toEqual(['first']);
  await stop(server);
  // Its link to the agent is readable before its socket is, so it hears of the new lease before it reads what waits.
  const counted = socket().counts();
  await until(() => bootClock.now() >= over);
  await send(client, 'meanwhile', port);
  lease(60_000);
  server.kill('SIGCONT');
  expect(await answeredUntil('last')).toEqual(['first', 'last']);
  expect((await counted).taken).toBeGreaterThan(0);
});

test('while the server is stopped its agent narrows the share, and shuts it when the lease is over', async () => {
  const { lease, answeredUntil, client, port, plane, service, server, socket } = await bench(bootClock);
  lease(60_000);
  expect(await answeredUntil('first')).toEqual(['first']);
  await stop(server);
  await plane.apply(tableOf(service, [2]));
  await send(client, 'not mine', port);
  await plane.apply(tableOf(service, [1]));
  plane.grant('lease', null);
  await send(client, 'not leased', port);
  const over = lease(20);
  await until(() => bootClock.now() >= over + 20);
  await send(client, 'over', port);
  lease(60_000);
  server.kill('SIGCONT');
  expect(await answeredUntil('last')).toEqual(['first', 'last']);
  expect((await socket().counts()).dropped).toBeGreaterThanOrEqual(3);
});

test('when a server dies its socket dies with it', async () => {
  const { lease, answeredUntil, server, plane, port } = await bench(bootClock);
  lease(60_000);
  await answeredUntil('first');
  server.kill('SIGKILL');
  await until(() => plane.deciders().length === 0);
  const again = createSocket('udp4');
  closing.push(() => again.close());
  // Bound only when nobody has the address and port.
  again.bind(port, host);
  await once(again, 'listening');
});
