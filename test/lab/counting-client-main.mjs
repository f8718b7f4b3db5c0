// Opens as many connections as the first argument says, from all addresses of this machine in turn, and asks on each, one line after the other. Says in a JSON line each
// time it is told to on its input what has happened so far.
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createInterface } from 'node:readline';

const addresses = networkInterfaces().eth0.flatMap(({ family, address }) => (family === 'IPv4' ? [address] : []));
const seen = { open: 0, answers: 0, moved: 0, wrong: 0, ended: 0, longestMs: 0 };

function open(localAddress) {
  const socket = connect({ host: process.env.MANYCAST_SERVICE_ADDRESS, port: 7, localAddress });
  let replica = null;
  let count = 0;
  let rest = '';
  let askedAt = 0;
  const ask = () => {
    count++;
    askedAt = performance.now();
    socket.write(`line ${count}\n`);
  };
  socket.setNoDelay(true);
  socket.once('connect', () => {
    seen.open++;
    ask();
  });
  socket.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const [by, ...said] = line.split(' ');
      if (said.join(' ') !== `${count} line ${count}`) seen.wrong++;
      if (replica !== null && by !== replica) seen.moved++;
      replica = by;
      seen.answers++;
      seen.longestMs = Math.max(seen.longestMs, performance.now() - askedAt);
      setTimeout(ask, 20);
    }
  });
  socket.on('error', () => {});
  socket.once('close', () => seen.ended++);
}

for (let i = 0; i < Number(process.argv[2]); i++) open(addresses[i % addresses.length]);
createInterface({ input: process.stdin }).on('line', () => console.log(JSON.stringify(seen)));
