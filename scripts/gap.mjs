// The longest pause of one connection that exchanges a byte every millisecond while half of all slots, its own among them, change their owner, beside
// as much time in which nothing moves: `node scripts/gap.mjs --moves 10`. Prints one line of JSON, in milliseconds.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { askAgent } from '../dist/platform/agent-client.js';

const { values } = parseArgs({ options: { moves: { type: 'string', default: '10' } } });
const moves = Number(values.moves);
const name = `g${process.pid.toString(36)}`.slice(0, 10);
const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const pingPong = fileURLToPath(new URL('ping-pong.py', import.meta.url));
const home = process.env.MANYCAST_LAB_HOME ?? join(tmpdir(), `manycast-${process.getuid()}`, 'lab');
const socket = join(home, name, 'r1', 'agent.sock');
const port = 9;
const windowMs = 1000;

/** The last byte of the client's address is one of them. */
const slots = '0-127';

manycast('up', name, '--replicas', '2', '--ports', `${port}/tcp`, '--serve', `python3 ${pingPong} serve ${port}`);
try {
  const { plan } = JSON.parse(readFileSync(join(home, name, 'lab.json'), 'utf8'));
  const answers = pings(plan, (2 * moves * windowMs) / 1000 + 3);
  await sleep(windowMs);
  const windows = [];
  for (let i = 0; i < moves; i++) {
    windows.push(await during(false, () => undefined));
    windows.push(await during(true, () => move(i % 2 === 0 ? 'r2' : 'r1')));
  }
  const all = await answers;
  const gapsOf = (moving) =>
    windows
      .filter((each) => each.moving === moving)
      .map(({ from, to }) => Math.max(...all.filter(({ at }) => at >= from && at < to).map(({ gap }) => gap)));
  const still = medianAndWorst(gapsOf(false));
  process.stdout.write(`${JSON.stringify({ moves, slots: 128, still, moving: medianAndWorst(gapsOf(true)) })}\n`);
} finally {
  manycast('down', name);
}

async function during(moving, change) {
  const from = now();
  await change();
  const left = from + windowMs - now();
  if (left < 0) throw new Error('a move took more than a second');
  await sleep(left);
  return { moving, from, to: now() };
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
