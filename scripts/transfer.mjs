// Moves many live connections back and forth in a lab of two replicas and says what it costs them: `node scripts/transfer.mjs --connections 2000 --moves 10`.
// With `--handoff forward` they stay where they are while their slots move. Windows with and without a move alternate, so that what else the machine does is in both. Needs root. Prints one line of JSON for the requests, and one for
// streams at full speed; exit code 2 when a connection broke, was not where it should be, or a byte was wrong.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '2000' },
    moves: { type: 'string', default: '10' },
    probes: { type: 'string', default: '16' },
    streams: { type: 'string', default: '1' },
    handoff: { type: 'string', default: 'transfer' },
  },
});
const moves = Number(values.moves);
const isTransfer = values.handoff === 'transfer';
const name = `x${process.pid.toString(36)}`.slice(0, 10);
const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const program = fileURLToPath(new URL('transfer-client.mjs', import.meta.url));
const servers = ['tcp-echo-server-main.js', 'stream-server-main.js'].map((file) =>
  fileURLToPath(new URL(`../dist/lab/${file}`, import.meta.url)),
);
const home = join(process.env.MANYCAST_LAB_HOME ?? join(tmpdir(), `manycast-${process.getuid()}`, 'lab'), name);
const machines = ['c1', 'c2'];
const processesOfMachine = 2;
const quietMs = 1000;
const streamsQuietMs = 2000;
const moveMsMax = 30_000;
const failed = 2;
let askedAt = performance.now();

const size = ['--replicas', '2', '--clients', '2', '--addresses', '50', '--ports', '7/tcp,5001/tcp', '--certified'];
const serve = `${servers.map((file) => `'${process.execPath}' '${file}'`).join(' & ')} & wait`;
manycast('lab', 'up', name, ...size, '--serve', serve);
try {
  writeFileSync(join(home, 'policy.yaml'), `strategy: explicit\nshares: { r1: 0-255 }\nhandoff: ${values.handoff}\n`);
  await delay(2000);
  if (Number(values.connections) > 0) report('requests', await requests());
  if (Number(values.streams) > 0) report('streams', await streams());
} finally {
  manycast('lab', 'down', name);
}

async function requests() {
  const processes = machines.length * processesOfMachine;
  const of = (all) => Math.ceil(Number(all) / processes);
  const task = { connections: of(values.connections), probes: of(values.probes), everyMs: 1000, probeEveryMs: 2 };
  const { clients, windows, ...seen } = await measure({ ...task, streams: 0 }, processesOfMachine);
  const quiet = windows.filter(({ isMove }) => !isMove);
  const moving = windows.filter(({ isMove }) => isMove);
  return {
    ...seen,
    connections: clients.length * task.connections,
    movesPerSecond: moving.map(({ movesPerSecond }) => movesPerSecond),
    /** Of the first answer by another replica: from question to answer. */
    stallMs: figures(moving.flatMap((each) => each.movedLatencies)),
    /** Of all others: before any move, in the windows without a move after that, and in those with one. */
    beforeMs: figures(quiet.slice(0, 1).flatMap((each) => each.latencies)),
    afterMs: figures(quiet.slice(1).flatMap((each) => each.latencies)),
    /** The median of connections that have moved in each window, divided by that of connections that were opened in it. */
    latencyRatio: figures(quiet.slice(1).map((each) => figures(each.latencies).p50 / figures(each.youngLatencies).p50)),
    besidesMs: figures(moving.flatMap((each) => each.latencies)),
  };
}

async function streams() {
  const task = { connections: 0, probes: 0, everyMs: 0, probeEveryMs: 0, streams: Number(values.streams) };
  const { clients, windows, ...seen } = await measure(task, 1);
  const quiet = windows.filter(({ isMove }) => !isMove);
  const moving = windows.filter(({ isMove }) => isMove);
  const rate = ({ bytes, ms }) => bytes / 1e3 / ms;
  return {
    ...seen,
    connections: clients.length * task.streams,
    /** The longest silence of each window. */
    stallMs: figures(moving.map(({ silences }) => Math.max(0, ...silences))),
    quietMs: figures(quiet.map(({ silences }) => Math.max(0, ...silences))),
    megabytesPerSecondBefore: round(rate(quiet[0])),
    megabytesPerSecondAfter: figures(quiet.slice(1).map(rate)).p50,
    /** Of the window after each move, divided by that of the one before it. */
    rateRatio: figures(quiet.slice(1).map((each, i) => rate(each) / rate(quiet[i]))),
  };
}

/** Windows without and with a move in turn, with what all client processes saw in each. */
async function measure(task, processes) {
  const clients = machines.flatMap((machine) => Array.from({ length: processes }, () => client(machine, task)));
  try {
    const all = clients.length * (task.connections + task.streams);
    await until(clients, ({ open }) => open === all);
    await delay(quietMs);
    await ask(clients, task.probes);
    const timeouts = timeoutsOf();
    const windows = [];
    let last = null;
    let misplaced = 0;
    const cpu = [];
    const quiet = async () => {
      await delay(task.streams > 0 ? streamsQuietMs : quietMs);
      windows.push({ isMove: false, ...(await ask(clients)) });
    };
    for (let i = 0; i < moves; i++) {
      await quiet();
      const [from, to] = i % 2 === 0 ? ['r1', 'r2'] : ['r2', 'r1'];
      const spent = cpuMs();
      const done = await move(from, to, all);
      if (isTransfer) cpu.push(...cpuSince(spent, from, done.connections));
      if (task.connections > 0) await delay(1100);
      last = await ask(clients, task.probes);
      misplaced += isTransfer ? all - done.connections : last.moved;
      windows.push({ isMove: true, ...last, ...done });
    }
    await quiet();
    const batches = windows.flatMap((each) => each.batches ?? []);
    return {
      clients,
      windows,
      broken: last.ended,
      wrong: last.wrong,
      misplaced,
      phasesMs: phasesOf(batches),
      cpuMsOfConnection: cpuOf(cpu),
      /** Of the kernels' retransmission timers, and packets that found no room in a receive queue, over the whole run: those of clients and replicas. */
      timeouts: timeoutsOf().map((count, i) => count - timeouts[i]),
    };
  } finally {
    for (const { child } of clients) child.stdin.end();
  }
}

/** Moves all slots, and returns once the log of their holder says that all connections have moved along, should they, or a while has passed. */
async function move(from, to, connections) {
  const before = lines(from).length;
  manycastOn('r1', 'move', '0-255', '--to', to);
  if (!isTransfer) return { connections: 0, movesPerSecond: 0, batches: [] };
  for (const end = performance.now() + moveMsMax; ; await delay(100)) {
    const batches = lines(from)
      .slice(before)
      .filter((each) => each.connections > 0 && each.peer === to);
    const moved = batches.reduce((sum, each) => sum + each.connections, 0);
    if (moved < connections && performance.now() < end) continue;
    const begin = Math.min(...batches.map(({ time, ms }) => time - ms));
    const ms = Math.max(...batches.map(({ time }) => time)) - begin;
    return { connections: moved, movesPerSecond: round((moved / ms) * 1000), batches };
  }
}

function timeoutsOf() {
  return ['TcpExtTCPTimeouts', 'TcpExtTCPRcvQDrop'].map((counter) =>
    [...machines, 'r1', 'r2'].reduce((sum, node) => {
      const argv = ['netns', 'exec', `mc-${name}-${node}`, 'nstat', '-asz', counter];
      const { stdout } = spawnSync('ip', argv, { encoding: 'utf8' });
      return sum + Number(stdout.split(`${counter} `)[1]?.trim().split(/\s+/)[0] ?? 0);
    }, 0),
  );
}

/** Processor time of the agents and the servers of both replicas so far, by what they are. */
function cpuMs() {
  const spent = {};
  for (const replica of ['r1', 'r2']) {
    const { stdout } = spawnSync('ip', ['netns', 'pids', `mc-${name}-${replica}`], { encoding: 'utf8' });
    for (const pid of stdout.split('\n').filter(Boolean)) {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      const role = line.includes('server-main') ? 'server' : 'agent';
      const [nanoseconds = '0'] = readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ');
      const key = `${replica} ${role}`;
      spent[key] = (spent[key] ?? 0) + Number(nanoseconds) / 1e6;
    }
  }
  return spent;
}

/** Milliseconds for each connection that moved; of the servers, what the clients ask for meanwhile is in it. */
function cpuSince(before, from, connections) {
  return Object.entries(cpuMs()).map(([key, ms]) => {
    const [replica, role] = key.split(' ');
    return { who: `${replica === from ? 'giving' : 'taking'} ${role}`, ms: (ms - (before[key] ?? 0)) / connections };
  });
}

function cpuOf(spent) {
  const names = [...new Set(spent.map(({ who }) => who))];
  const of = (name) => spent.filter(({ who }) => who === name).map(({ ms }) => ms);
  return Object.fromEntries(names.map((each) => [each, figures(of(each)).p50]));
}

/** Milliseconds that the phases of a batch take, as the agents that gave say. */
function phasesOf(batches) {
  const names = [...new Set(batches.flatMap(({ phasesMs }) => Object.keys(phasesMs ?? {})))];
  return Object.fromEntries(
    names.map((each) => [each, figures(batches.flatMap(({ phasesMs }) => phasesMs?.[each] ?? []))]),
  );
}

function lines(replica) {
  const text = readFileSync(join(home, replica, 'agent.log'), 'utf8');
  return text.split('\n').flatMap((line) => {
    if (!line.includes('connections moved to')) return [];
    const { time, ...rest } = JSON.parse(line);
    return [{ ...rest, time: typeof time === 'number' ? time : Date.parse(time) }];
  });
}

function client(machine, task) {
  const argv = ['lab', 'exec', name, machine, '--', process.execPath, program];
  const child = spawn(process.execPath, [command, ...argv, JSON.stringify({ host: '10.77.0.100', ...task })], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  return { child, lines: createInterface({ input: child.stdout }) };
}

/** Connections of which the clients open `young` are closed at the next call. */
async function ask(clients, young = 0) {
  const said = await Promise.all(
    clients.map(async ({ child, lines: output }) => {
      const answer = once(output, 'line');
      child.stdin.write(`${young}\n`);
      return JSON.parse((await answer)[0]);
    }),
  );
  const sum = (of) => said.reduce((total, each) => total + of(each), 0);
  const ms = performance.now() - askedAt;
  askedAt += ms;
  return {
    ...{ ms, open: sum((each) => each.open), ended: sum((each) => each.ended), wrong: sum((each) => each.wrong) },
    ...{ moved: sum((each) => each.moved), bytes: sum((each) => each.bytes) },
    ...{
      latencies: said.flatMap((each) => each.latencies),
      movedLatencies: said.flatMap((each) => each.movedLatencies),
      youngLatencies: said.flatMap((each) => each.youngLatencies),
    },
    ...{ silences: said.flatMap((each) => each.silences) },
  };
}

async function until(clients, wanted) {
  for (const end = performance.now() + moveMsMax; !wanted(await ask(clients)); await delay(100)) {
    if (performance.now() > end) throw new Error('the connections do not open');
  }
}

function report(what, result) {
  process.stdout.write(`${JSON.stringify({ what, ...result })}\n`);
  if (result.broken + result.wrong + result.misplaced > 0) process.exitCode = failed;
}

function figures(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (part) => round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0);
  return { p50: at(0.5), p99: at(0.99), max: at(1), count: sorted.length };
}

function round(value) {
  return Math.round(value * 100) / 100;
}

function manycastOn(node, ...argv) {
  manycast('lab', 'exec', name, node, '--', process.execPath, command, ...argv);
}

function manycast(...argv) {
  const { status } = spawnSync(process.execPath, [command, ...argv], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`manycast ${argv.join(' ')}: exit code ${status}`);
}
