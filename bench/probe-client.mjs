// Runs on a client machine: begins a fresh connection to port 80 from each address at a steady pace, whatever became of those before, and writes a record of each when it is over. What it
// could not begin within `lateMsMax` it does not begin: a machine that is too busy would never catch up.
import { connect } from 'node:net';

const { service, addresses, intervalMs, timeoutMs, wants } = JSON.parse(process.argv[2]);
const periodMs = intervalMs / addresses.length;
const lateMsMax = 50;
const begin = performance.now();
const request = 'GET / HTTP/1.1\r\nHost: bench\r\n\r\n';
let begun = 0;
beginDue();
process.stdin.resume();
process.stdin.once('end', () => process.exit());

function beginDue() {
  const due = performance.now() - begin;
  begun = Math.max(begun, Math.floor((due - lateMsMax) / periodMs));
  for (; begun * periodMs <= due; begun++) attempt(addresses[begun % addresses.length]);
  setTimeout(beginDue, begin + begun * periodMs - performance.now());
}

function attempt(client) {
  const started = performance.now();
  const socket = connect({ host: service, port: 80, localAddress: client });
  let isOver = false;
  const end = (by) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timeout);
    if (socket.connecting) socket.destroy();
    else socket.resetAndDestroy();
    const record = { at: performance.timeOrigin + started, durationMs: performance.now() - started, client };
    process.stdout.write(`${JSON.stringify({ ...record, opened: by !== null, by })}\n`);
  };
  const timeout = setTimeout(() => end(null), timeoutMs);
  socket.once('connect', () => (wants === 'open' ? end('') : socket.write(request)));
  // The answer fits one segment.
  socket.once('data', (chunk) => end(chunk.toString('latin1').split('\r\n\r\n')[1] ?? ''));
  socket.on('error', () => end(null));
  socket.once('close', () => end(null));
}
