import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { formatIp, ipAddress } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { type Instruction, socketFilter } from '../../src/dataplane/socket-filter.ts';
import { attachFilter } from '../../src/platform/libc.ts';
import { descriptorOfDatagramSocket } from '../../src/sdk/datagram-descriptor.ts';
import { partitionOf } from '../../src/space/partition.ts';
import { ip } from '../contract/data-plane-contract.ts';

const group = '239.77.6.1';
const made = partitionOf(ip('0.0.1.31'));
const partition = defined(made.ok ? made.value : null, 'a partition');

async function opened(bind: (socket: Socket) => void): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  onTestFinished(() => void socket.close());
  bind(socket);
  await once(socket, 'listening');
  return socket;
}

function programOf(slots: Iterable<number>, servicePort: number, kept: number[], foreign: number[]) {
  const flows = (ports: number[]) => ports.map((clientPort) => ({ client: ip('127.6.0.3'), clientPort, servicePort }));
  const filter = socketFilter({ partition, slots: new Set(slots), kept: flows(kept), foreign: flows(foreign) });
  return defined(filter.ok ? filter.value : null, 'a filter') as readonly Instruction[];
}

/** Three servers of one group on the loopback device, each with a third of the slots: what a plain user can have, without namespaces. */
test('of servers that joined one group, the kernel gives each datagram to the owner of its slot alone', async () => {
  const first = await opened((socket) => socket.bind(0, '0.0.0.0'));
  const { port } = first.address();
  const servers = [first, ...(await Promise.all([0, 1].map(() => opened((socket) => socket.bind(port, '0.0.0.0')))))];
  const answers: string[][] = [[], [], []];
  const shares = servers.map((_, i) =>
    Array.from({ length: 64 }, (_, slot) => slot).filter((slot) => (slot ^ (slot >> 3)) % 3 === i),
  );
  for (const [i, server] of servers.entries()) {
    server.addMembership(group, '127.0.0.1');
    attachFilter(descriptorOfDatagramSocket(server), programOf(shares[i] ?? [], port, [], []));
    server.on('message', (message, { address, port: clientPort }) => {
      answers[i]?.push(address);
      server.send(message, clientPort, address);
    });
  }
  const clients = Array.from({ length: 200 }, (_, i) => formatIp(ipAddress(4, 0x7f06_0000n + BigInt(3 + i * 7))));
  const answered = clients.map(async (address) => {
    const client = await opened((socket) => socket.bind(0, address));
    client.setMulticastInterface('127.0.0.1');
    client.send(address, port, group);
    return String((await once(client, 'message'))[0]);
  });
  expect(await Promise.all(answered)).toEqual(clients);
  const owner = (address: string): number => {
    const value = Number(ip(address).value);
    const slot = (value & 31) | ((value >> 3) & 32);
    return (slot ^ (slot >> 3)) % 3;
  };
  expect(answers.map((each) => [...each].sort())).toEqual(
    [0, 1, 2].map((i) => clients.filter((address) => owner(address) === i).sort()),
  );
});

test('flows that are kept are taken by their port, and foreign ones are left', async () => {
  const server = await opened((socket) => socket.bind(0, '127.6.0.1'));
  const clients = await Promise.all([0, 1, 2].map(() => opened((socket) => socket.bind(0, '127.6.0.3'))));
  const ports = clients.map((each) => each.address().port);
  const { port } = server.address();
  const taken: number[] = [];
  server.on('message', (_message, from) => taken.push(from.port));
  const rounds = [
    { slots: [], kept: ports.slice(0, 1), foreign: [] },
    { slots: [3], kept: [], foreign: ports.slice(1, 2) },
    { slots: [3], kept: ports.slice(1, 2), foreign: ports },
  ];
  const last = await opened((socket) => socket.bind(0, '127.6.0.4'));
  for (const { slots, kept, foreign } of rounds) {
    attachFilter(descriptorOfDatagramSocket(server), programOf([...slots, 4], port, kept, foreign));
    for (const client of clients) client.send('x', port, '127.6.0.1');
    // Of a slot that is always taken: it comes after the others.
    last.send('end', port, '127.6.0.1');
    while (taken.at(-1) !== last.address().port) await once(server, 'message');
    taken.push(0);
  }
  const [a = 0, b = 0, c = 0] = ports;
  const end = last.address().port;
  expect(taken).toEqual([a, end, 0, a, c, end, 0, b, end, 0]);
});
