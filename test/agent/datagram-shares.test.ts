import { createSocket as createPlainSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { DatagramSocket } from '../../src/agent/datagram-application.ts';
import { openSdkEndpoint } from '../../src/agent/sdk-endpoint.ts';
import { createFakeDataPlane } from '../../src/dataplane/fake.ts';
import type { ForwardingTable, Row } from '../../src/dataplane/forwarding-table.ts';
import { createSocketDataPlane, type ShareSocket, type SocketDataPlane } from '../../src/dataplane/socket.ts';
import { type UdpFlow, udpFlowsOf } from '../../src/dataplane/staying.ts';
import { bootClock } from '../../src/platform/boot-clock.ts';
import { unreadBytes } from '../../src/platform/receive-window.ts';
import { descriptorOfDatagramSocket } from '../../src/sdk/datagram-descriptor.ts';
import { Datagrams } from '../../src/sdk/datagrams.ts';
import { ip, serviceWith } from '../contract/data-plane-contract.ts';

const host = '127.7.0.1';
const address = (slot: number) => `127.7.1.${slot}`;
const slots = [0, 1, 2, 3, 4, 5, 6, 7];
const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (let close = closing.pop(); close; close = closing.pop()) await close();
});

async function bound(socket: Socket, to: string): Promise<Socket> {
  socket.bind(0, to);
  closing.push(() => socket.close());
  await once(socket, 'listening');
  return socket;
}

interface Bench {
  readonly plane: SocketDataPlane;
  readonly server: Socket;
  readonly service: ReturnType<typeof serviceWith>;
  /** Two of each slot. */
  readonly flows: readonly UdpFlow[];
  /** Which of `flows` have a datagram taken. */
  taken(): Promise<readonly boolean[]>;
  /** A mark of the lease from now on. */
  lease(ms: number): void;
}

let nextMark = 1;

/** An agent's end and an application's, in one process. */
async function bench(through: (socket: ShareSocket) => ShareSocket, clock = bootClock): Promise<Bench> {
  const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
  closing.push(() => rmSync(directory, { recursive: true }));
  const server = createPlainSocket('udp4');
  const datagrams = new Datagrams(join(directory, 'sdk.socket'));
  datagrams.add(server);
  await bound(server, host);
  const { port } = server.address();
  const service = serviceWith('0.0.0.7', { ports: [{ protocol: 'udp', port }], udpIdleMs: 60_000 });
  const plane = createSocketDataPlane(clock, service);
  const ports = new Map<number, DatagramSocket>();
  const given = new Map<ShareSocket, ShareSocket>();
  const endpoint = await openSdkEndpoint(join(directory, 'sdk.socket'), {
    node: 'r1',
    answerMs: 1000,
    datagrams: {
      ports,
      onPassed() {},
      plane: {
        join(socket) {
          given.set(socket, through(socket));
          plane.join(given.get(socket) ?? socket);
        },
        part: (socket) => plane.part(given.get(socket) ?? socket),
      },
    },
  });
  closing.push(() => endpoint.close());
  const clients = await Promise.all(
    [...slots, ...slots].map((slot) => bound(createPlainSocket('udp4'), address(slot))),
  );
  const flows = clients.map((each) => {
    const end = each.address();
    return { client: ip(end.address), clientPort: end.port, servicePort: port };
  });
  while (ports.size === 0) await new Promise((resolve) => setTimeout(resolve, 10));

  async function taken(): Promise<readonly boolean[]> {
    const ends = new Set<number>();
    const note = (_message: Buffer, from: { port: number }) => void ends.add(from.port);
    server.on('message', note);
    await Promise.all(clients.map((each) => new Promise((resolve) => each.send('x', port, host, resolve))));
    // Over the loopback device what was sent is queued, or dropped, when sending returns.
    do await nextTurn();
    while (unreadBytes(descriptorOfDatagramSocket(server)) > 0);
    await nextTurn();
    server.off('message', note);
    return flows.map(({ clientPort }) => ends.has(clientPort));
  }
  function lease(ms: number): void {
    const mark = nextMark++;
    plane.arm('lease', mark, ms);
    plane.grant('lease', mark);
  }
  return { plane, server, service, flows, taken, lease };
}

const peer = '02:00:00:00:00:0c';
const row = fc.constantFrom<(Row | null)[]>(
  null,
  { kind: 'own', peer: null },
  { kind: 'new', peer: null },
  { kind: 'relay', peer },
  { kind: 'old', peer },
  { kind: 'old', peer: null },
);
const some = (length: number) => fc.array(fc.nat({ max: length - 1 }), { maxLength: 5 });

describe.each([
  ['a kernel that takes every program', (socket: ShareSocket) => socket],
  ['a kernel without filters', (socket: ShareSocket): ShareSocket => ({ ...socket, attach: () => false })],
  [
    'a kernel that takes short programs',
    (socket: ShareSocket): ShareSocket => ({
      ...socket,
      attach: (program) => program.length < 12 && socket.attach(program),
    }),
  ],
])('with %s', (_what, through) => {
  test('a socket takes what the table says, as every other data plane does', async () => {
    const { plane, service, flows, taken, lease } = await bench(through);
    const fake = createFakeDataPlane(() => 0);
    const state = fc.record({
      rows: fc.tuple(...slots.map(() => row)),
      kept: some(16),
      foreign: some(16),
      shut: some(8),
      leased: fc.nat({ max: 9 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(state, { minLength: 1, maxLength: 4 }), async (states) => {
        for (const { rows, kept, foreign, shut, leased } of states) {
          const pick = (list: number[]) => udpFlowsOf(list.flatMap((i) => flows[i] ?? []));
          const table: ForwardingTable = {
            service,
            rows: new Map(rows.flatMap((each, slot) => (each ? [[slot, each] as const] : []))),
            staying: { kept: pick(kept), foreign: pick(foreign), shut: new Set(shut) },
          };
          if (leased > 0) lease(60_000);
          else plane.grant('lease', null);
          await Promise.all([plane.apply(table), fake.apply(table)]);
          fake.arm('lease', nextMark, 1000);
          fake.grant('lease', leased > 0 ? nextMark : null);
          const packets = flows.map(({ client, clientPort, servicePort }) => ({
            ...{ source: client, sourcePort: clientPort, protocol: 'udp' as const },
            ...{ destination: service.address, destinationPort: servicePort },
          }));
          expect(await taken()).toEqual(packets.map((packet) => fake.judge(packet) === 'local'));
        }
      }),
      { numRuns: 40 },
    );
  });
});
