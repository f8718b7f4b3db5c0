// What re-dividing the client address space costs in the process that does it: the planner (who owns which slot, when a replica joins), and the smallest list of filters of every replica's share, as
// status, joins and group delivery need it. Two states to begin from: "in order", which is what the planner itself leaves, and "by lot", owners drawn at random, which is the worst for filters, and which no
// cluster comes to by itself. Processor time of this one process; the first round of each does not count, as V8 compiles in it.
// Left out: agreeing on the outcome (case `control`), and the kernel's rows, whose cost is that of a transaction.
import { setImmediate } from 'node:timers/promises';
import { planShares } from '../../dist/policy/planner.js';
import { coverSlots, partitionOf } from '../../dist/space/index.js';
import { spread } from '../statistics.mjs';

export const title = 'Planner and filters';
export const programs = [];

const slotBits = [8, 12, 16];
const replicaCounts = [8, 64, 256, 1024];
/** A job that takes longer than this is not repeated, and its one round counts. */
const longMs = 1500;
const grouped = (count) => count.toLocaleString('en');

/** @param {{ quick: boolean, say: (text: string) => void }} options */
export async function measure({ quick, say }) {
  const metrics = [];
  const lines = new Map();
  for (const bits of slotBits) {
    for (const count of replicaCounts) {
      if (count > 2 ** bits || (quick && bits === 16 && count > 64)) continue;
      const name = `${grouped(count)} replicas, ${grouped(2 ** bits)} slots`;
      say(name);
      for (const [metric, job] of Object.entries(jobsOf(bits, count))) {
        const values = repeated(job, quick ? 3 : 7);
        metrics.push({ name, metric, unit: 'ms', values });
        const label = `${metric}, ${grouped(2 ** bits)} slots`;
        lines.set(label, [...(lines.get(label) ?? []), [count, spread(values).median]]);
        // Signals have their turn.
        await setImmediate();
      }
    }
  }
  const plot = (file, about, first) => ({
    ...{ file, title: about, x: 'replicas', y: 'ms of processor time', logX: true, logY: true },
    lines: [...lines].flatMap(([label, points]) =>
      label.startsWith(first) ? [{ label: label.slice(first.length + 2), points }] : [],
    ),
  });
  return {
    metrics,
    ratios: [],
    plots: [
      plot('planner.svg', 'Planning, when a replica joins', 'plan'),
      plot('filters.svg', 'Filters of the shares of all replicas', 'filters'),
    ],
    notes: quick ? ['65,536 slots for more than 64 replicas are in the full run alone.'] : [],
  };
}

function jobsOf(bits, count) {
  const partition = partitionOf({ family: 4, value: (1n << BigInt(bits)) - 1n }).value;
  const members = Array.from({ length: count }, (_, i) => `r${String(i + 1).padStart(4, '0')}`);
  const policy = { strategy: 'equal' };
  const others = members.slice(1);
  const ordered = planShares({ partition, policy, members: others, current: [] });
  const draw = drawer(1);
  const byLot = ordered.map(() => others[draw() % others.length]);
  const planned = (current) => planShares({ partition, policy, members, current });
  const covers = (owners) => {
    const shares = slotsByOwner(owners);
    return () => {
      for (const slots of shares) coverSlots(partition, slots);
    };
  };
  return {
    'plan, in order': () => planned(ordered),
    'plan, by lot': () => planned(byLot),
    'filters, in order': covers(planned(ordered)),
    'filters, by lot': covers(byLot),
  };
}

function slotsByOwner(owners) {
  const shares = new Map();
  for (const [slot, owner] of owners.entries()) {
    const share = shares.get(owner);
    if (share) share.push(slot);
    else shares.set(owner, [slot]);
  }
  return [...shares.values()];
}

function repeated(job, rounds) {
  const first = cpuMs(job);
  return first > longMs ? [first] : Array.from({ length: rounds }, () => cpuMs(job));
}

function cpuMs(job) {
  const before = process.cpuUsage();
  job();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** The same numbers in every run, below 2^32 (xorshift, Marsaglia 2003). */
function drawer(seed) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
