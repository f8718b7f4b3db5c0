// What it costs that a replica goes on with connections of slots that it has given away: 1,000 requests a second over connections that are open, by turns while their slots are the replica's own, and while it
// only holds them. In the latter its agent lists the host's connections twice a second, and the kernels of two hosts see the packets of each client.
//
// Measured is processor time, which others on the machine do not lengthen much: of the three agents together, for each second; and of all else in the lab, nginx and clients with what the kernel does on
// their behalf, for each request.
//
// Left out: the link. On a segment every replica receives every packet whether slots move or not.
import { setTimeout as delay } from 'node:timers/promises';
import { cpuMsOf } from '../moves/cpu-time.mjs';
import { withMovingLab } from '../moves/moving-lab.mjs';
import { now } from '../probes.mjs';
import { hasProgram } from '../programs.mjs';
import { interleaved } from '../rounds.mjs';

export const title = 'Connections of slots that were given away';
export const programs = ['nginx-light'];

const sizes = {
  quick: { levels: [1000], rounds: 1, seconds: 2 },
  full: { levels: [1000, 10_000, 20_000], rounds: 3, seconds: 4 },
};
const perSecond = 1000;
/** Slots are listed from three seconds after they were given away on. */
const listedMs = 3500;

export async function measure({ quick, say }) {
  if (!hasProgram('nginx-light'))
    return { metrics: [], ratios: [], plots: [], notes: ['nginx is not there: nothing measured.'] };
  const { levels, rounds, seconds } = quick ? sizes.quick : sizes.full;
  const costs = await withMovingLab(async (parts) => {
    const list = [];
    for (const level of levels) {
      await parts.connections.open(level);
      await parts.shares.drained();
      const ways = { owned: () => costAt('r1', parts, seconds), draining: () => costAt('r2', parts, seconds) };
      list.push({ level, ...(await interleaved(ways, rounds, (text) => say(`${level} connections, ${text}`))) });
      await parts.shares.move('r1', 0, 256);
    }
    return list;
  });
  return figures(costs);
}

/** The connections are r1's, whoever owns their slots. */
async function costAt(owner, { lab: { plan }, shares, connections, settled }, seconds) {
  await shares.move(owner, 0, 256);
  await settled();
  await delay(listedMs);
  const namespaces = [...plan.replicas, ...plan.clients].map(({ namespace }) => namespace);
  const before = cpuMsOf(namespaces);
  const begin = now();
  const answered = await connections.load(perSecond, seconds);
  const ms = now() - begin;
  const { agent, all } = cpuMsOf(namespaces);
  const agents = agent - before.agent;
  return { agents: (agents * 1000) / ms, request: ((all - before.all - agents) * 1000) / answered };
}

function figures(costs) {
  const states = { owned: 'own slots', draining: 'slots given away' };
  const rows = costs.flatMap((cost) =>
    Object.entries(states).map(([state, text]) => ({
      name: `${cost.level.toLocaleString('en')} connections, ${text}`,
      list: cost[state],
    })),
  );
  return {
    metrics: rows.flatMap(({ name, list }) => [
      { name, metric: 'processor time of three agents', unit: 'ms/s', values: list.map(({ agents }) => agents) },
      { name, metric: 'processor time of a request', unit: 'µs', values: list.map(({ request }) => request) },
    ]),
    ratios: costs.map(({ level, owned, draining }) => ({
      name: `processor time of a request, given away / own, ${level.toLocaleString('en')} connections`,
      values: draining.map(({ request }, i) => request / owned[i].request),
    })),
    plots: [],
    notes: [],
  };
}
