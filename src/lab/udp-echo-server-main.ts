import { createSocket as createPlainSocket } from 'node:dgram';
import { isMulticast, parseIp } from '../base/address.ts';
import type { ClientEnd } from '../sdk/datagram-sessions.ts';
import { createSocket } from '../sdk/datagram-socket.ts';
import { udpEchoPort } from './udp-echo.ts';

/** Answers each datagram with the name of the replica and the datagram (RFC 862, with a name); in a group with how many of that client it was, too. */
const node = process.env.MANYCAST_NODE ?? '';
const address = process.env.MANYCAST_SERVICE_ADDRESS ?? '';
const own = process.env.MANYCAST_NODE_ADDRESS ?? '';
const parsed = parseIp(address);
const isGroup = parsed.ok && isMulticast(parsed.value);
const retryMs = 50;
const bytesMax = 1024;

/** How many datagrams of each client were answered: what moves with its session. */
const counts = new Map<string, number>();
const keyOf = ({ address, port }: ClientEnd): string => `${address}:${port}`;
const sessions = {
  exportState: (client: ClientEnd) => new Uint8Array(new Uint32Array([counts.get(keyOf(client)) ?? 0]).buffer),
  importState: (client: ClientEnd, state: Buffer) => void counts.set(keyOf(client), state.readUInt32LE()),
};

/** Bound to the service address, as answers must come from it; the address is there once the agent has begun. A group has members instead. */
function serve(): void {
  const socket = isGroup ? createSocket({ type: 'udp4', reuseAddr: true, ...sessions }) : createPlainSocket('udp4');
  socket.once('error', () => {
    socket.close();
    setTimeout(serve, retryMs);
  });
  socket.on('message', (datagram, client) => {
    if (datagram.length > bytesMax) return;
    const count = (counts.get(keyOf(client)) ?? 0) + 1;
    if (isGroup) counts.set(keyOf(client), count);
    const answer = `${node} ${datagram.toString('latin1')}${isGroup ? ` ${count}` : ''}`;
    // An answer that cannot be sent is a lost datagram.
    socket.send(answer, client.port, client.address, () => {});
  });
  if (isGroup) socket.bind(udpEchoPort, () => socket.addMembership(address, own));
  else socket.bind(udpEchoPort, address);
}

serve();
