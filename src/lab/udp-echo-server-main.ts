import { createSocket } from 'node:dgram';

/** Answers each datagram on port 7 with the name of the replica and the datagram (RFC 862, with a name). */
const node = process.env.MANYCAST_NODE ?? '';
const address = process.env.MANYCAST_SERVICE_ADDRESS ?? '';
const retryMs = 50;
const bytesMax = 1024;

/** Bound to the service address, as answers must come from it; the address is there once the agent has begun. */
function serve(): void {
  const socket = createSocket('udp4');
  socket.once('error', () => {
    socket.close();
    setTimeout(serve, retryMs);
  });
  socket.on('message', (datagram, { port, address: client }) => {
    if (datagram.length > bytesMax) return;
    // An answer that cannot be sent is a lost datagram.
    socket.send(`${node} ${datagram.toString('latin1')}`, port, client, () => {});
  });
  socket.bind(7, address);
}

serve();
