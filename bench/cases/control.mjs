// What it costs that agents agree: what each sends and receives, its processor time and its memory, while nothing happens and while slots move; for 3, 8, 16 and 32 real agents, each with a kernel of its own in a lab
// that serves nobody, and for 3 to 64 agents in virtual time. Datagrams and bytes of the real ones are those of their devices, headers and all (ARP is in it, and is little); in virtual time they are what agents hand
// over, without headers and signatures, and a datagram to the group counts once. Processor time is that of all threads of an agent (/proc/PID/task/*/schedstat), and the kernel's work on its behalf, but not
// that of the bridge, which is the switch here. Beside it stands that of a process of Node which sends and receives as many datagrams as one of three agents, and does nothing else. A move is a policy that gives one replica another weight, from saving it until all slots are settled; what the agents would have done anyway is taken off.
// A machine that is too small for so many agents says so: the next number is left out where agents would take most of its processors.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { heartbeatFits } from '../../dist/wire/control-message.js';
import { end, start, until } from '../commands.mjs';
import { startLab } from '../lab.mjs';
import { simulatedCluster } from '../simulated-cluster.mjs';
import { median } from '../statistics.mjs';

export const title = 'Control plane';
export const programs = ['iproute2'];

const fullSizes = { real: [3, 8, 16, 32], simulated: [3, 8, 16, 32, 64] };
const quickSizes = { real: [3, 8], simulated: [3, 8, 16] };
/** Of all processors; with more than this agents keep each other waiting. */
const shareMax = 0.8;
/** Each agent has work of its own, and hears each other: between linear and square. */
const powerGuess = 1.5;
const ports = [47_746, 47_747];
const movingMsMax = 30_000;
const pollMs = 10;

/** @param {{ quick: boolean, say: (text: string) => void }} options */
export async function measure({ quick, say }) {
  const sizes = quick ? quickSizes : fullSizes;
  const notes = [membersNote()];
  const real = new Map();
  for (const replicas of sizes.real) {
    const expected = expectedShare(replicas, [...real.values()]);
    if (expected > shareMax) {
      notes.push(
        `${replicas} real agents: left out, they would take ${Math.round(expected * 100)} % of this machine's processors.`,
      );
      continue;
    }
    say(`${replicas} agents in a lab`);
    real.set(replicas, await measuredLab(replicas, quick ? { seconds: 2, moves: 2 } : { seconds: 8, moves: 6 }));
  }
  say('a process that only sends and receives datagrams');
  const heartbeats = Math.round(median(real.get(3).idle.map(({ sent }) => sent)));
  const alone = await aloneCpu(heartbeats, quick ? { rounds: 1, seconds: 4 } : { rounds: 3, seconds: 8 });
  const simulated = new Map();
  for (const replicas of sizes.simulated) {
    say(`${replicas} agents in virtual time`);
    simulated.set(replicas, await simulatedCluster(replicas, quick ? 1000 : 3000));
  }
  return { ...reportOf(real, alone, simulated), ratios: [], notes };
}

/** By a power law through the last two that were measured; a first guess where there is one. */
function expectedShare(replicas, measured) {
  const [last, before] = measured.toReversed();
  if (!last) return 0;
  const power = before ? Math.log(last.share / before.share) / Math.log(last.replicas / before.replicas) : powerGuess;
  return last.share * (replicas / last.replicas) ** power;
}

function membersNote() {
  let members = 1;
  while (heartbeatFits(Array.from({ length: members + 1 }, (_, i) => `r${i + 1}`))) members++;
  return `A heartbeat names all members in one datagram: a cluster has at most ${members} of them with names such as r1, and fewer with longer names, so there are no figures beyond.`;
}

function reportOf(real, alone, simulated) {
  const metrics = [
    ...[...real].flatMap(([count, { idle, moves, memory }]) => realMetrics(`${count} agents`, idle, moves, memory)),
    ...metricsOf('node, as many datagrams as one of 3', { cpu: alone.map((each) => each * 100) }),
    ...[...simulated].flatMap(([count, { idle, move }]) => simulatedMetrics(count, idle, move)),
  ];
  const line = (label, list, of) => ({ label, points: [...list].map(([count, each]) => [count, of(each)]) });
  const each = (replicas, value, ms) => (value * 1000) / ms / replicas;
  const plots = [
    {
      ...{ file: 'control-messages.svg', title: 'Bytes that one agent sends and receives, nothing moves' },
      ...{ x: 'agents', y: 'bytes/s', logX: true, logY: true },
      lines: [
        line('sent', real, ({ idle }) => median(idle.map(({ bytesSent }) => bytesSent))),
        line('received', real, ({ idle }) => median(idle.map(({ bytesReceived }) => bytesReceived))),
        {
          label: 'sent, in virtual time',
          points: [...simulated].map(([count, { idle }]) => [count, each(count, idle.bytes, idle.ms)]),
        },
      ],
    },
    {
      ...{ file: 'control-cpu.svg', title: 'Processor time of one agent, nothing moves' },
      ...{ x: 'agents', y: '% of a core' },
      lines: [
        line('agent', real, ({ idle }) => 100 * median(idle.map(({ cpu }) => cpu))),
        { label: 'node, as many datagrams', points: [[3, 100 * median(alone)]] },
      ],
    },
  ];
  return { metrics, plots };
}

const columns = {
  sent: ['idle: datagrams an agent sends', '1/s'],
  received: ['idle: datagrams it receives', '1/s'],
  bytesSent: ['idle: bytes it sends', 'B/s'],
  bytesReceived: ['idle: bytes it receives', 'B/s'],
  cpu: ['idle: processor time', '% of a core'],
  memory: ['memory (RSS)', 'MiB'],
  moveMs: ['a move: until settled', 'ms'],
  moveDatagrams: ['a move: datagrams beyond the idle ones', 'of all agents'],
  moveBytes: ['a move: bytes beyond the idle ones', 'of all agents'],
  moveCpu: ['a move: processor time beyond the idle one', 'ms of all agents but one'],
  simulation: ['simulation of a second', 'ms of one core'],
};

/** @param {Partial<Record<keyof typeof columns, number[]>>} figures */
function metricsOf(name, figures) {
  return Object.entries(figures).map(([column, values]) => {
    const [metric, unit] = columns[column];
    return { name, metric, unit, values };
  });
}

function realMetrics(name, idle, moves, memory) {
  const of = (list, what) => list.map((each) => each[what]);
  return metricsOf(name, {
    ...{ sent: of(idle, 'sent'), received: of(idle, 'received') },
    ...{ bytesSent: of(idle, 'bytesSent'), bytesReceived: of(idle, 'bytesReceived') },
    cpu: idle.map(({ cpu }) => cpu * 100),
    memory,
    ...{ moveMs: of(moves, 'ms'), moveDatagrams: of(moves, 'datagrams') },
    ...{ moveBytes: of(moves, 'bytes'), moveCpu: of(moves, 'cpuMs') },
  });
}

function simulatedMetrics(count, idle, move) {
  const rate = (value) => [(value * 1000) / idle.ms / count];
  const datagrams = ({ multicasts, unicasts }) => multicasts + unicasts;
  const beyond = (of) => [of(move) - (of(idle) / idle.ms) * move.ms];
  return metricsOf(`${count} agents, in virtual time`, {
    ...{ sent: rate(datagrams(idle)), bytesSent: rate(idle.bytes) },
    ...{ moveMs: [move.ms], moveDatagrams: beyond(datagrams), moveBytes: beyond(({ bytes }) => bytes) },
    simulation: [(idle.cpuMs * 1000) / idle.ms],
  });
}

/** `share` is that of all processors which the idle agents take. */
async function measuredLab(replicas, { seconds, moves: moveCount }) {
  const lab = await startLab({ replicas, clients: 1, addresses: 1 });
  try {
    await settled(lab, () => true);
    // What came with the start is over: agents that are new are watched more closely for a while.
    await delay(2000);
    const before = await countersOf(lab);
    await delay(seconds * 1000);
    const after = await countersOf(lab);
    const idle = before.map((each, i) => rates(each, after[i]));
    const moves = [];
    for (let i = 0; i < moveCount; i++) moves.push(await move(lab, i % 2 === 0 ? 3 : 1, idle));
    const memory = lab.agents.map(({ pid }) => residentMebibytes(pid));
    const share = idle.reduce((sum, { cpu }) => sum + cpu, 0) / availableParallelism();
    return { replicas, idle, moves, memory, share };
  } finally {
    await lab.end();
  }
}

/** Parts of one core that a process takes which only sends and receives as many datagrams as one of three agents: `heartbeats` a second, and those of two. */
async function aloneCpu(heartbeats, { rounds, seconds }) {
  const program = fileURLToPath(new URL('../datagrams-alone.mjs', import.meta.url));
  const [own, others] = ports;
  const alone = [
    [own, others, heartbeats],
    [others, own, 2 * heartbeats],
  ].map((words) => start([process.execPath, program, ...words.map(String)]));
  try {
    const parts = [];
    // The first is as long as an agent has run when it is looked at.
    for (let round = 0; round <= rounds; round++) {
      const [begin, before] = [performance.now(), cpuMs(alone[0].pid)];
      await delay(seconds * 1000);
      parts.push((cpuMs(alone[0].pid) - before) / (performance.now() - begin));
    }
    return parts.slice(1);
  } finally {
    await Promise.all(alone.map((child) => end(child)));
  }
}

/** Gives the first replica another weight, and everybody else 1. */
async function move(lab, weight, idle) {
  const names = lab.plan.replicas.map(({ name }) => name);
  const count = ({ owners }) => owners.find(({ name }) => name === names[0])?.count;
  const had = count(await lab.status(names[0]));
  const before = await countersOf(lab);
  const weights = names.map((name, i) => `${name}: ${i === 0 ? weight : 1}`).join(', ');
  const begin = performance.now();
  writeFileSync(lab.policyFile, `strategy: weighted\nweights: { ${weights} }\n`);
  await settled(lab, (status) => count(status) !== had);
  const ms = performance.now() - begin;
  const after = await countersOf(lab);
  const spans = after.map((each, i) => (each.at - before[i].at) / 1000);
  const grown = (what, of) => idle.map((each, i) => after[i][what] - before[i][what] - of(each) * spans[i]);
  const beyond = (what, of) => grown(what, of).reduce((sum, each) => sum + each, 0);
  return {
    ms,
    datagrams: beyond('sent', (each) => each.sent),
    bytes: beyond('bytesSent', (each) => each.bytesSent),
    // Not that of the one that was asked all the time.
    cpuMs: grown('cpuMs', (each) => each.cpu * 1000)
      .slice(0, -1)
      .reduce((sum, each) => sum + each, 0),
  };
}

/** Until the last replica sees no slot on its way, and what else is asked of it. */
async function settled(lab, isSo) {
  const ask = async () => {
    const status = await lab.status(lab.plan.replicas.at(-1).name);
    return status.verdict === 'serving' && status.settled && isSo(status);
  };
  await until('all slots are settled', ask, movingMsMax, pollMs);
}

async function countersOf(lab) {
  return Promise.all(
    lab.plan.replicas.map(async ({ name }, i) => {
      const { pid } = lab.agents[i];
      return {
        at: performance.now(),
        cpuMs: cpuMs(pid),
        ...deviceCounters(await lab.run(name, ['cat', '/proc/net/dev'])),
      };
    }),
  );
}

/** Of proc(5), /proc/net/dev. */
function deviceCounters(text) {
  const line = text.split('\n').find((each) => each.trim().startsWith('eth0:'));
  const fields = line.split(':')[1].trim().split(/\s+/).map(Number);
  return { bytesReceived: fields[0], received: fields[1], bytesSent: fields[8], sent: fields[9] };
}

/** Time on a processor of all threads of a process, milliseconds. */
function cpuMs(pid) {
  const threads = `/proc/${pid}/task`;
  const nanoseconds = readdirSync(threads).map((thread) => {
    const file = `${threads}/${thread}/schedstat`;
    return existsSync(file) ? Number(readFileSync(file, 'utf8').split(' ')[0]) : 0;
  });
  return nanoseconds.reduce((sum, each) => sum + each, 0) / 1e6;
}

function residentMebibytes(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
}

/** A second; `cpu` is a part of one core. */
function rates(before, after) {
  const seconds = (after.at - before.at) / 1000;
  const rate = (what) => (after[what] - before[what]) / seconds;
  return {
    ...{ sent: rate('sent'), received: rate('received') },
    ...{ bytesSent: rate('bytesSent'), bytesReceived: rate('bytesReceived') },
    cpu: rate('cpuMs') / 1000,
  };
}
