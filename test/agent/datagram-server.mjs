// A server of one service port with the SDK: answers each datagram with itself. Its output is the port, then a line for each datagram.
import { createSocket } from '../../dist/sdk/index.js';

const socket = createSocket('udp4', (message, { address, port }) => {
  socket.send(message, port, address);
  process.stdout.write(`${message}\n`);
});
socket.bind(Number(process.argv[3] ?? 0), process.argv[2], () => process.stdout.write(`${socket.address().port}\n`));
