// What router delivery costs, against plain routing to the same servers through the same router: `node scripts/router-delivery.mjs --rounds 5 --seconds 3`.
// Each round is wrk on three client machines at once, first one way and then the other, the next round the other way about. Prints one line of JSON: medians, and the medians of the
// rounds' ratios. The router's rules stand in all rounds: packets to a replica's own address pass them by. Processor time is that of wrk and nginx, where veth does the work of sending and receiving. Needs root, wrk and nginx.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { askAgentOnce } from '../dist/platform/agent-client.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
  },
});
const name = `v${process.pid.toString(36)}`.slice(0, 10);
const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const home = process.env.MANYCAST_LAB_HOME ?? join(tmpdir(), `manycast-${process.getuid()}`, 'lab');
const ticksPerSecond = 100;

const nginx = join(tmpdir(), `${name}-nginx.conf`);
writeFileSync(
  nginx,
  `daemon off; master_process off; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000; server { listen 80; location / { return 200 "ok"; } } }
`,
);
const size = ['--replicas', '3', '--clients', '3', '--addresses', '12', '--delivery', 'router'];
manycast(
  'up',
  name,
  ...size,
  '--ports',
  '80/tcp',
  '--serve',
  `exec nginx -c ${nginx} -g "pid $MANYCAST_DIRECTORY/nginx.pid;"`,
);
try {
  const { plan, servers } = JSON.parse(readFileSync(join(home, name, 'lab.json'), 'utf8'));
  const status = await askAgentOnce(join(home, name, 'r1', 'agent.sock'), 'GET', '/v1/status');
  const pairs = pairsOf(plan, status);
  const ways = {
    router: () => run(pairs, servers, () => plan.service.address),
    plain: () => run(pairs, servers, ({ replica }) => replica.address),
  };
  for (const { client, from, replica } of pairs) {
    // wrk cannot be told an address of its own; the route is.
    for (const to of [plan.service.address, replica.address]) {
      await ended(exec(client.name, 'ip', 'route', 'add', to, 'via', plan.routers[0].clientSide, 'src', from));
    }
  }
  const rounds = [];
  for (let i = 0; i < Number(values.rounds); i++) {
    const order = i % 2 === 0 ? ['plain', 'router'] : ['router', 'plain'];
    const round = {};
    for (const way of order) round[way] = await ways[way]();
    rounds.push(round);
    process.stderr.write(`${JSON.stringify(round)}\n`);
  }
  const of = (way, what) => median(rounds.map((round) => round[way][what]));
  const ratio = (what) => Number(median(rounds.map(({ router, plain }) => router[what] / plain[what])).toFixed(3));
  const result = {
    rounds: rounds.length,
    plainRequestsPerSecond: Math.round(of('plain', 'rate')),
    routerRequestsPerSecond: Math.round(of('router', 'rate')),
    ratio: ratio('rate'),
    plainCpuMicrosecondsPerRequest: Number(of('plain', 'cpu').toFixed(1)),
    routerCpuMicrosecondsPerRequest: Number(of('router', 'cpu').toFixed(1)),
    cpuRatio: ratio('cpu'),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  manycast('down', name);
  rmSync(nginx);
}

/** One client machine for each replica, with an address of that replica's share. */
function pairsOf(plan, { owners }) {
  return plan.replicas.map((replica, i) => {
    const share = owners.find((each) => each.name === replica.name).slots;
    const isOf = (address) =>
      share.split(',').some((range) => {
        const [first, last = first] = range.split('-').map(Number);
        const slot = Number(address.split('.').at(-1));
        return slot >= first && slot <= last;
      });
    const client = plan.clients[i];
    return { client, replica, from: client.addresses.find(isOf) };
  });
}

/** Requests a second of all clients together, and microseconds of processor time that a request took. */
async function run(pairs, servers, addressOf) {
  const before = servers.map(({ pid }) => cpuTicks(pid));
  const said = await Promise.all(
    pairs.map((pair) => {
      const wrk = `wrk -t 1 -c 8 -d ${values.seconds}s http://${addressOf(pair)}/; times`;
      return ended(exec(pair.client.name, 'sh', '-c', wrk));
    }),
  );
  const serving = servers.reduce((sum, { pid }, i) => sum + cpuTicks(pid) - before[i], 0) / ticksPerSecond;
  // What `times` says last is the time of children, as "0m1.230000s 0m4.560000s".
  const asking = said.flatMap((text) =>
    [...(text.trim().split('\n').at(-1) ?? '').matchAll(/(\d+)m([\d.]+)s/g)].map(([, m, s]) => 60 * m + Number(s)),
  );
  const counted = said.map((text) => Number(/(\d+) requests in/.exec(text)[1]));
  const requests = counted.reduce((sum, each) => sum + each, 0);
  const rate = said.reduce((sum, text) => sum + Number(/Requests\/sec:\s+([\d.]+)/.exec(text)[1]), 0);
  return { rate, cpu: ((serving + asking.reduce((sum, each) => sum + each, 0)) * 1e6) / requests, counted };
}

/** User and system time of a process, proc(5). */
function cpuTicks(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

function median(list) {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function exec(node, ...argv) {
  return spawn(process.execPath, [command, 'lab', 'exec', name, node, '--', ...argv], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function ended(child) {
  let said = '';
  child.stdout.on('data', (data) => {
    said += data;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${child.spawnargs.slice(2).join(' ')} ended with ${code}`);
  return said;
}

function manycast(...args) {
  const { status } = spawnSync(process.execPath, [command, 'lab', ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) process.exit(1);
}
