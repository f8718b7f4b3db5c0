import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { udpEchoPort } from './udp-echo.ts';

/** Sends a datagram to the service from each address of this machine, and says for each address who has answered it. */
const service = process.env.MANYCAST_SERVICE_ADDRESS ?? '';
const waitMs = 1000;
/** A datagram to a group has one hop to live, unless its sender wants more (RFC 1112, section 6.1). */
const hops = 8;

const own = (networkInterfaces().eth0 ?? []).flatMap(({ family, address }) => (family === 'IPv4' ? [address] : []));

for (const address of own) {
  const answers: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (answer, from) => answers.push(`${from.address} ${answer.toString('latin1')}`));
  socket.bind(0, address, () => {
    socket.setMulticastTTL(hops);
    socket.send('hello', udpEchoPort, service);
  });
  setTimeout(() => {
    socket.close();
    process.stdout.write(`${address}: ${answers.join(', ') || 'no answer'}\n`);
  }, waitMs);
}
