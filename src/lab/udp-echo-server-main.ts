import { createSocket as createPlainSocket } from 'node:dgram';
import { isMulticast, parseIp } from '../base/address.ts';
import { createSocket } from '../sdk/datagram-socket.ts';
import { udpEchoPort } from './udp-echo.ts';

/** Answers each datagram with the name of the replica and the datagram (RFC 862, with a name). */
const node = process.env.MANYCAST_NODE ?? '';
const address = process.env.MANYCAST_SERVICE_ADDRESS ?? '';
const own = process.env.MANYCAST_NODE_ADDRESS ?? '';
const parsed = parseIp(address);
const isGroup = parsed.ok && isMulticast(parsed.value);
const retryMs = 50;
const bytesMax = 1024;

/** Bound to the service address, as answers must come from it; the address is there once the agent has begun. A group has members instead. */
function serve(): void {
  const socket = isGroup ? createSocket({ type: 'udp4', reuseAddr: true }) : createPlainSocket('udp4');
  socket.once('error', () => {
    socket.close();
    setTimeout(serve, retryMs);
  });
  socket.on('message', (datagram, { port, address: client }) => {
    if (datagram.length > bytesMax) return;
    // An answer that cannot be sent is a lost datagram.
    socket.send(`${node} ${datagram.toString('latin1')}`, port, client, () => {});
  });
  if (isGroup) socket.bind(udpEchoPort, () => socket.addMembership(address, own));
  else socket.bind(udpEchoPort, address);
}

serve();
