import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

/** Answers each line on port 7 with the name of the replica and the line (RFC 862, with a name). */
const node = process.env.MANYCAST_NODE ?? '';
const lineCharactersMax = 1024;

createServer((socket) => {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  const lines = createInterface({ input: socket });
  // It repeats the errors of its socket, which are handled there.
  lines.on('error', () => {});
  lines.on('line', (line) => {
    if (line.length > lineCharactersMax) socket.destroy();
    else socket.write(`${node} ${line}\n`);
  });
}).listen(7, '0.0.0.0');
