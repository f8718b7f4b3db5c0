// How long clients have nobody when a router's daemon ends by SIGTERM, which takes the services off the router, and is started again: `node scripts/router-restart.mjs --rounds 5`.
// Prints one line of JSON: milliseconds from the start of the process until every one of 14 clients has a connection, all rounds and their median. Needs root.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { labNamed, restartRouter } from '../dist/lab/index.js';

const { values, positionals } = parseArgs({
  options: { rounds: { type: 'string', default: '5' } },
  allowPositionals: true,
});
const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
/** A SYN that nobody answers is not waited for. */
const patienceMs = 50;

if (positionals[0] === 'probe') await probe(positionals[1], positionals.slice(2));
else await measure(Number(values.rounds));

/** Says "began" when nobody answers one of the addresses, and then the time at which all were answered. */
async function probe(host, addresses) {
  while (await isAnswered(host, addresses[0]));
  console.log('began');
  await Promise.all(
    addresses.map(async (each) => {
      while (!(await isAnswered(host, each)));
    }),
  );
  console.log(Date.now());
}

function isAnswered(host, localAddress) {
  return new Promise((resolve) => {
    const socket = connect({ host, port: 80, localAddress });
    const end = (answered) => {
      socket.destroy();
      resolve(answered);
    };
    socket.once('connect', () => end(true)).on('error', () => {});
    setTimeout(() => end(false), patienceMs);
  });
}

async function measure(rounds) {
  const name = `s${process.pid.toString(36)}`.slice(0, 10);
  manycast('lab', 'up', name, '--replicas', '3', '--clients', '1', '--addresses', '14', '--delivery', 'router');
  try {
    const { plan } = labNamed(name);
    const [client] = plan.clients;
    const took = [];
    for (let i = 0; i < rounds; i++) {
      const program = fileURLToPath(import.meta.url);
      const argv = [process.execPath, program, 'probe', plan.service.address, ...client.addresses];
      const child = spawn(process.execPath, [command, 'lab', 'exec', name, client.name, '--', ...argv], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      await restartRouter(plan, 'rt');
      const startedAt = Date.now();
      await lines.next();
      took.push(Number((await lines.next()).value) - startedAt);
      await once(child, 'exit');
    }
    const sorted = [...took].sort((a, b) => a - b);
    console.log(JSON.stringify({ rounds, ms: took, median: sorted[Math.floor(rounds / 2)] }));
  } finally {
    manycast('lab', 'down', name);
  }
}

function manycast(...args) {
  const { status } = spawnSync(process.execPath, [command, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`manycast ${args.join(' ')} failed`);
}
