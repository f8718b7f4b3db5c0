// Runs on a client machine of `transfer.mjs`: connections that ask a line and check its answer, or streams of checked bytes at full speed. Each line on standard
// input is answered with what has been seen since the last one, as one line of JSON; it is the number of connections that are open until the next one only, and ask as the probes do.
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createInterface } from 'node:readline';
import { createPatternCheck, greetingBytes, rateHeader, sendPattern, streamPort } from '../dist/lab/stream.js';

const { host, connections, probes, probeEveryMs, everyMs, streams } = JSON.parse(process.argv[2]);
const addresses = networkInterfaces().eth0.flatMap(({ family, address }) => (family === 'IPv4' ? [address] : []));
/** Over the whole run. */
const total = { open: 0, ended: 0, wrong: 0 };
/** Since the last line: how long answers to the probes took, those that came from another replica and those of connections that were opened since apart; silences of streams. */
let since = nothing();
let young = [];

for (let i = 0; i < connections; i++)
  ask(addresses[i % addresses.length], i < probes ? probeEveryMs : everyMs, i < probes ? 'probe' : 'other');
for (let i = 0; i < streams; i++) stream(addresses[i % addresses.length]);
const asked = createInterface({ input: process.stdin });
asked.on('line', (line) => {
  process.stdout.write(`${JSON.stringify({ ...total, ...since })}\n`);
  since = nothing();
  for (const socket of young) socket.destroy();
  young = Array.from({ length: Number(line) }, (_, i) => ask(addresses[i % addresses.length], probeEveryMs, 'young'));
});
asked.once('close', () => process.exit());

function nothing() {
  return { moved: 0, latencies: [], movedLatencies: [], youngLatencies: [], silences: [], bytes: 0 };
}

function ask(localAddress, pauseMs, kind) {
  const socket = connect({ host, port: 7, localAddress });
  let [replica, count, rest, askedAt] = [null, 0, '', 0];
  const next = () => {
    askedAt = performance.now();
    socket.write(`line ${++count}\n`);
  };
  socket.setNoDelay(true);
  socket.once('connect', () => {
    if (kind !== 'young') total.open++;
    setTimeout(next, Math.random() * pauseMs);
  });
  socket.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const now = performance.now();
      const [by, ...said] = line.split(' ');
      if (said.join(' ') !== `${count} line ${count}`) total.wrong++;
      const isMoved = replica !== null && by !== replica;
      if (isMoved) since.moved++;
      if (kind === 'young') since.youngLatencies.push(now - askedAt);
      if (kind === 'probe') (isMoved ? since.movedLatencies : since.latencies).push(now - askedAt);
      replica = by;
      setTimeout(next, pauseMs);
    }
  });
  socket.on('error', () => {});
  socket.once('close', () => {
    if (kind !== 'young') total.ended++;
  });
  return socket;
}

/** What a server sends after its greeting is the pattern; what it received it checks itself, and tells at the end, which does not come here. */
function stream(localAddress) {
  const socket = connect({ host, port: streamPort, localAddress });
  const check = createPatternCheck();
  let toGreet = greetingBytes;
  let heardAt = 0;
  socket.setNoDelay(true);
  socket.once('connect', () => {
    total.open++;
    socket.write(rateHeader(0));
    sendPattern(socket, 0);
  });
  socket.on('data', (chunk) => {
    const now = performance.now();
    const greeting = Math.min(toGreet, chunk.length);
    toGreet -= greeting;
    const wrong = check.wrong;
    check.take(chunk.subarray(greeting));
    total.wrong += check.wrong - wrong;
    since.bytes += chunk.length;
    if (heardAt > 0 && now - heardAt > 1) since.silences.push(now - heardAt);
    heardAt = now;
  });
  socket.on('error', () => {});
  socket.once('close', () => total.ended++);
}
