// Keeps a lab of three replicas busy beyond what the machine has, and counts what its agents' verdicts do meanwhile: `node scripts/saturation.mjs --minutes 10`.
// wrk takes the processors for each replica, and two busy loops run in replicas. Prints one line of JSON; exit code 2 when a lease was lost.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { askAgent } from '../dist/platform/agent-client.js';

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } });
const seconds = Math.round(Number(values.minutes) * 60);
const name = `s${process.pid.toString(36)}`.slice(0, 10);
const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const home = process.env.MANYCAST_LAB_HOME ?? join(tmpdir(), `manycast-${process.getuid()}`, 'lab');
const replicas = ['r1', 'r2', 'r3'];
const serviceUrl = 'http://10.77.0.100/';
const leaseLost = 2;

manycast('up', name, '--replicas', '3', '--clients', '3', '--addresses', '12');
const ending = new AbortController();
const loops = ['r1', 'r2'].map((replica) => exec(replica, process.execPath, '-e', 'for (;;) {}'));
try {
  const verdicts = replicas.map(verdictsOf);
  const { requests, requestsPerSecond } = await load();
  ending.abort();
  const changes = (await Promise.all(verdicts)).flat().sort((a, b) => a.at - b.at);
  for (const each of changes) process.stderr.write(`${JSON.stringify(each)}\n`);
  const lost = changes.filter(({ verdict }) => verdict !== 'serving');
  const times = changes.map(({ at }) => at);
  const gaps = times.slice(1).map((at, i) => at - times[i]);
  const result = {
    minutes: seconds / 60,
    verdictChanges: changes.length,
    leaseLosses: lost.length,
    /** Between one change of a verdict and the next, of any agent; null with fewer than two. */
    largestGapMs: gaps.length > 0 ? Math.round(Math.max(...gaps)) : null,
    requests,
    requestsPerSecond,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exitCode = lost.length > 0 ? leaseLost : 0;
} finally {
  ending.abort();
  for (const each of loops) each.kill('SIGKILL');
  manycast('down', name);
}

/** One wrk on each client machine, each from an address of another share. */
async function load() {
  const { plan } = JSON.parse(readFileSync(join(home, name, 'lab.json'), 'utf8'));
  const said = await Promise.all(
    plan.clients.map(async (client, i) => {
      const { addresses } = client;
      const from = addresses[Math.floor(((i + 0.5) * addresses.length) / plan.clients.length)];
      // wrk cannot be told an address of its own; the route is.
      await ended(exec(client.name, 'ip', 'route', 'add', plan.service.address, 'dev', 'eth0', 'src', from));
      return ended(exec(client.name, 'wrk', '-t', '1', '-c', '32', '-d', `${seconds}s`, serviceUrl));
    }),
  );
  const sum = (pattern) => said.reduce((total, text) => total + Number(pattern.exec(text)?.[1]), 0);
  return { requests: sum(/(\d+) requests in/), requestsPerSecond: Math.round(sum(/Requests\/sec:\s+([\d.]+)/)) };
}

/** What a program said to its end. */
async function ended(child) {
  const said = [];
  child.stdout.on('data', (text) => said.push(text));
  const [code] = await once(child, 'close');
  const text = said.join('');
  process.stderr.write(text);
  if (code !== 0) throw new Error(`${child.spawnargs.join(' ')}: exit code ${code}`);
  return text;
}

/** The verdicts that an agent comes to until the load is over. */
async function verdictsOf(replica) {
  const seen = [];
  try {
    for await (const line of askAgent(
      join(home, name, replica, 'agent.sock'),
      'GET',
      '/v1/events',
      '',
      ending.signal,
    )) {
      if (line.type === 'verdict') seen.push({ replica, at: line.at, verdict: line.verdict, cause: line.cause });
    }
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  }
  return seen;
}

function exec(node, ...argv) {
  return spawn('ip', ['netns', 'exec', `mc-${name}-${node}`, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] });
}

function manycast(...argv) {
  const { status } = spawnSync(process.execPath, [command, 'lab', ...argv], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`manycast lab ${argv.join(' ')}: exit code ${status}`);
}
