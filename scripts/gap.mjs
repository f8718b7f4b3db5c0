// The longest pause of one connection that exchanges a byte every millisecond: while nothing happens, while half of all slots, its own among them, change their
// owner, and while the agent of its host leaves. Every time on a lab of its own: `node scripts/gap.mjs --repeat 10`. Prints one line of JSON, in milliseconds.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { askAgent } from '../dist/platform/agent-client.js';

const { values } = parseArgs({ options: { repeat: { type: 'string', default: '10' } } });
const name = `g${process.pid.toString(36)}`.slice(0, 10);
const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const pingPong = fileURLToPath(new URL('ping-pong.py', import.meta.url));
const home = process.env.MANYCAST_LAB_HOME ?? join(tmpdir(), `manycast-${process.getuid()}`, 'lab');
const socket = join(home, name, 'r1', 'agent.sock');
const port = 9;
const windowMs = 1000;
/** The last byte of the client's address is one of them, and r1 has them first. */
const slots = '0-127';

const runs = [];
for (let i = 0; i < Number(values.repeat); i++) runs.push(await run());
const over = (kind) => medianAndWorst(runs.map((each) => each[kind]));
const result = { repeat: runs.length, still: over('still'), moving: over('moving'), leaving: over('leaving') };
process.stdout.write(`${JSON.stringify(result)}\n`);

/** The longest pause in each window of one lab. */
async function run() {
  manycast('up', name, '--replicas', '2', '--ports', `${port}/tcp`, '--serve', `python3 ${pingPong} serve ${port}`);
  try {
    const { plan } = JSON.parse(readFileSync(join(home, name, 'lab.json'), 'utf8'));
    const answers = pings(plan, (4 * windowMs) / 1000 + 1);
    await sleep(windowMs);
    const still = await during(() => undefined);
    const moving = await during(() => move('r2'));
    const leaving = await during(() => manycast('step', name, 'leave: r1'));
    const all = await answers;
    const longest = ({ from, to }) => Math.max(...all.filter(({ at }) => at >= from && at < to).map(({ gap }) => gap));
    return { still: longest(still), moving: longest(moving), leaving: longest(leaving) };
  } finally {
    manycast('down', name);
  }
}

async function during(change) {
  const from = now();
  await change();
  const left = from + windowMs - now();
  if (left > 0) await sleep(left);
  return { from, to: now() };
}

async function move(to) {
  const body = JSON.stringify({ kind: 'move', slots, name: to, dryRun: false });
  for await (const line of askAgent(socket, 'POST', '/v1/change', body)) {
    if (line.done && line.outcome !== 'adopted') throw new Error(`the move to ${to}: ${line.outcome}`);
  }
}

async function pings({ clients: [client], service }, seconds) {
  const argv = [pingPong, 'ping', client.addresses[0], service.address, String(port), String(seconds)];
  const child = spawn('ip', ['netns', 'exec', `mc-${name}-${client.name}`, 'python3', ...argv], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const said = [];
  child.stdout.on('data', (text) => said.push(text));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`the connection broke: exit code ${code}`);
  return said
    .join('')
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' ').map(Number))
    .map(([at, gap]) => ({ at, gap }));
}

function medianAndWorst(gaps) {
  const sorted = [...gaps].sort((a, b) => a - b);
  const middle = sorted.slice(Math.floor((sorted.length - 1) / 2), Math.floor(sorted.length / 2) + 1);
  return { medianMs: round(middle.reduce((sum, gap) => sum + gap, 0) / middle.length), worstMs: round(sorted.at(-1)) };
}

function round(ms) {
  return Math.round(ms * 10) / 10;
}

/** CLOCK_MONOTONIC, milliseconds. */
function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

function manycast(...argv) {
  const { status } = spawnSync(process.execPath, [command, 'lab', ...argv], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`manycast lab ${argv.join(' ')}: exit code ${status}`);
}
