// Slots of a lab of three replicas with nginx move from one to another, handoff `forward`: 1, 16, 128 or all 256, with up to 20,000 open connections from 252 addresses in four processes.
//
// Measured: from the policy saved to the instant from which the kernel of the new owner accepts all of them, as its agent's events say; the longest time in which one of eight addresses, which begin
// a fresh connection every 10 ms, got none opened, from the policy saved to 200 ms after that instant (so 200 ms and more are noise of the machine: see the rows without a move); how many of these
// attempts were not opened within a second; after each round every open connection is asked, and those that do not answer are broken.
//
// Left out: what clients and servers do besides, so these are times of a service that is not loaded. Clients, servers and agents share this machine.
import { setTimeout as delay } from 'node:timers/promises';
import { withMovingLab } from '../moves/moving-lab.mjs';
import { gapsOf, now, startProbes } from '../probes.mjs';
import { hasProgram } from '../programs.mjs';
import { median } from '../statistics.mjs';

export const title = 'Slots move while connections are open';
export const programs = ['nginx-light'];

const sizes = {
  quick: { slots: [0, 1, 256], levels: [0, 1000], rounds: 1 },
  full: { slots: [0, 1, 16, 128, 256], levels: [0, 1000, 10_000, 20_000], rounds: 3 },
};
const readyMsMax = 60_000;
const probesOfMachine = 2;
const stillMs = 100;
const afterMs = 200;
/** What a probe that began in a move came to is known by then. */
const probeMsMax = 1100;

export async function measure({ quick, say }) {
  if (!hasProgram('nginx-light'))
    return { metrics: [], ratios: [], plots: [], notes: ['nginx is not there: nothing measured.'] };
  const size = quick ? sizes.quick : sizes.full;
  const seen = await withMovingLab(async (parts) => {
    const list = [];
    for (const level of size.levels) {
      for (let round = 0; round < size.rounds; round++) {
        say(`${level} connections, round ${round + 1} of ${size.rounds}`);
        await parts.connections.open(level);
        const moves = await movesOf(parts, size.slots);
        const broken = await parts.connections.ask();
        list.push(...moves.map((move) => ({ ...move, level, broken })));
      }
    }
    return list;
  });
  return figures(seen, size);
}

/** One after the other, what is fresh beside them. */
async function movesOf({ lab: { plan }, shares, settled }, wanted) {
  const machines = plan.clients.map((client) => ({ ...client, addresses: client.addresses.slice(0, probesOfMachine) }));
  const probes = startProbes(machines, plan.service.address);
  const moves = [];
  try {
    if (!(await probes.served(now(), 200, readyMsMax))) throw new Error('not served before anything moves');
    for (const slots of wanted) {
      moves.push({ slots, ...(await oneMove(shares, probes, slots)) });
      await shares.move('r1', 0, 256);
      await settled();
    }
    return moves;
  } finally {
    await probes.end();
  }
}

/** From r1 to r2. Of no slot: as long as nothing happens. */
async function oneMove(shares, probes, slots) {
  const { savedAt, ms } =
    slots === 0 ? { savedAt: now(), ms: stillMs } : await shares.move('r2', slots === 256 ? 0 : 1, slots);
  const end = savedAt + ms + afterMs;
  await delay(probeMsMax);
  const during = probes.records.filter(({ at }) => at > savedAt && at < end);
  const gapMs = Math.max(...gapsOf(probes.records, savedAt, end));
  return { ms, gapMs, unserved: during.filter(({ opened }) => !opened).length };
}

function figures(seen, { slots, levels }) {
  const of = (level, count) => seen.filter((each) => each.slots === count && each.level === level);
  const rows = levels.flatMap((level) =>
    slots.map((count) => ({ name: nameOf(level, count), count, list: of(level, count) })),
  );
  const metric = (what, unit, value) => (row) => ({ name: row.name, metric: what, unit, values: row.list.map(value) });
  const moved = rows.filter(({ count }) => count > 0);
  return {
    metrics: [
      ...moved.map(metric('policy saved to accepted by the new owner', 'ms', ({ ms }) => ms)),
      ...rows.map(metric('longest time without a fresh connection', 'ms', ({ gapMs }) => gapMs)),
      ...rows.map(metric('fresh connections not opened', 'count', ({ unserved }) => unserved)),
      ...rows.map(metric('open connections broken in the round', 'count', ({ broken }) => broken)),
    ],
    ratios: [],
    plots: [
      {
        ...{ file: 'moves.svg', title: 'Policy saved to accepted by the new owner', x: 'open connections', y: 'ms' },
        lines: slots
          .filter((count) => count > 0)
          .map((count) => ({
            label: slotsText(count),
            points: levels.map((level) => [level, median(of(level, count).map(({ ms }) => ms))]),
          })),
      },
    ],
    notes: [],
  };
}

function nameOf(level, count) {
  return `${slotsText(count)}, ${level.toLocaleString('en')} connections`;
}

function slotsText(count) {
  if (count === 0) return 'no move';
  return count === 1 ? '1 slot' : `${count} slots`;
}
