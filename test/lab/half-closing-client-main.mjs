// As `nc -N`: each connection asks for a long answer and ends its side, some at once and some later; then it reads to the end. Says in a JSON line each time it is told to
// on its input how many answers came, and how many were not whole.
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createInterface } from 'node:readline';

const addresses = networkInterfaces().eth0.flatMap(({ family, address }) => (family === 'IPv4' ? [address] : []));
const count = Number(process.argv[2]);
const lines = Number(process.argv[3]);
const seen = { ended: 0, wrong: [] };
const wanted = [...Array.from({ length: lines }, (_, i) => `${i + 1}`), 'eof 1', ''].join('\n');

for (let i = 0; i < count; i++) {
  const localAddress = addresses[i % addresses.length];
  const socket = connect({ host: process.env.MANYCAST_SERVICE_ADDRESS, port: 7, localAddress, allowHalfOpen: true });
  let text = '';
  socket.once('connect', () => {
    socket.write(`slow ${lines}\n`);
    setTimeout(() => socket.end(), i * 100);
  });
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.on('error', ({ code }) => seen.wrong.push(code));
  socket.once('end', () => {
    if (text !== wanted) seen.wrong.push(text.slice(-40));
  });
  socket.once('close', () => seen.ended++);
}
createInterface({ input: process.stdin }).on('line', () => console.log(JSON.stringify(seen)));
