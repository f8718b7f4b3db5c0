import { createServer } from 'node:net';
import { createPatternCheck } from './byte-pattern.ts';
import { sendPattern } from './byte-sender.ts';
import { greetingOf, rateBytes, rateOf, streamPort, trailerOf } from './stream-protocol.ts';

/** Sends and checks streams of the pattern on the stream port. */
const node = process.env.MANYCAST_NODE ?? '';

createServer({ allowHalfOpen: true }, (socket) => {
  const check = createPatternCheck();
  let header = Buffer.alloc(0);
  let sender: ReturnType<typeof sendPattern> | null = null;
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => sender?.stop());
  socket.write(greetingOf(node));
  socket.on('data', (chunk) => {
    let rest = chunk;
    if (sender === null) {
      header = Buffer.concat([header, chunk]);
      if (header.length < rateBytes) return;
      sender = sendPattern(socket, rateOf(header));
      rest = header.subarray(rateBytes);
    }
    check.take(rest);
  });
  socket.on('end', () => {
    sender?.stop();
    socket.end(trailerOf({ sent: sender?.sent ?? 0, received: check.received, wrong: check.wrong }));
  });
}).listen(streamPort, '0.0.0.0');
