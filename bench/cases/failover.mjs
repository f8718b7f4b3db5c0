// How long nobody serves a client when a host loses power: its cable is pulled and all its processes are killed, as the step `kill: {host}` of scenarios does it.
// From each of eight client addresses a fresh connection is begun every 10 ms, whatever became of those before; measured is the longest time in which some address got none
// opened. All have nginx in their hosts, on one switch; each round starts everything anew, and the ways take turns. Crashes of manycast's hosts, keepalived's defaults and its common tuning have 20
// rounds, the others 5.
//
// - manycast: three replicas, as `manycast lab up` makes them; a member dies, or the coordinator. A third of the clients are affected.
// - keepalived: two hosts, one virtual address; defaults (VRRPv2, advert_int 1), and with VRRPv3, a real-time priority and adverts every 100 ms, which is often recommended, and every
//   10 ms, the least it allows.
// - ucarp: two hosts, one address; defaults (--advbase 1 --deadratio 3), and --deadratio 2, the least that holds (failover/ucarp.mjs).
//
// Left out: connections that were open to the dead host are lost whoever takes over. Hosts are namespaces of one machine, so nothing is said of switches that learn slowly. With
// keepalived and ucarp one host does all the work before and after, with manycast all share it; a host that only hangs is another matter (docs/faults.md).

import { keepalivedCrash } from '../failover/keepalived.mjs';
import { manycastCrash } from '../failover/manycast.mjs';
import { ucarpCrash } from '../failover/ucarp.mjs';
import { hasProgram } from '../programs.mjs';
import { interleaved } from '../rounds.mjs';
import { spread } from '../statistics.mjs';

export const title = 'A host loses power';
export const programs = ['nginx-light', 'keepalived', 'ucarp'];

const member = 'manycast, a member';
const coordinator = 'manycast, the coordinator';
const keepalivedDefault = 'keepalived, default';
/** Of all ways, and of those besides that are compared. */
const rounds = { quick: { all: 0, compared: 3 }, full: { all: 5, compared: 15 } };

/** In the order of the plots. */
const ways = [
  { name: member, run: () => manycastCrash('member') },
  { name: coordinator, run: () => manycastCrash('coordinator') },
  { name: keepalivedDefault, needs: 'keepalived', run: () => keepalivedCrash({}) },
  { name: 'keepalived, 100 ms', needs: 'keepalived', run: () => keepalivedCrash({ advertSeconds: 0.1 }) },
  {
    name: 'keepalived, 10 ms',
    needs: 'keepalived',
    isAside: true,
    run: () => keepalivedCrash({ advertSeconds: 0.01 }),
  },
  { name: 'ucarp, default', needs: 'ucarp', isAside: true, run: () => ucarpCrash({}) },
  { name: 'ucarp, tuned', needs: 'ucarp', isAside: true, run: () => ucarpCrash({ isTuned: true }) },
];

export async function measure({ quick, say }) {
  const notes = [];
  const { all, compared } = quick ? rounds.quick : rounds.full;
  if (quick) notes.push(`${compared} rounds are too few for a worst case; keepalived at 10 ms and ucarp are left out.`);
  if (!hasProgram('nginx-light'))
    return { metrics: [], ratios: [], plots: [], notes: ['nginx is not there: nothing measured.'] };
  const able = ways.filter(({ name, needs, isAside }) => {
    if (all === 0 && isAside) return false;
    if (needs === undefined || hasProgram(needs)) return true;
    notes.push(`${needs} is not there: "${name}" is left out.`);
    return false;
  });
  const take = (some, count) => interleaved(Object.fromEntries(some.map(({ name, run }) => [name, run])), count, say);
  const first = await take(able, all);
  const more = await take(
    able.filter(({ isAside }) => !isAside),
    compared,
  );
  const results = Object.fromEntries(able.map(({ name }) => [name, [...first[name], ...(more[name] ?? [])]]));
  const names = able.map(({ name }) => name);
  const of = (name, what) => results[name].map((each) => each[what]);
  for (const name of names) {
    const unserved = results[name].filter(({ isServed }) => !isServed).length;
    if (unserved > 0) notes.push(`${name}: in ${unserved} rounds some client was not served again in time.`);
  }
  const worst = (name) => Math.max(...of(name, 'worstMs'));
  return {
    metrics: names.flatMap((name) => [
      { name, metric: 'longest time without service, of all clients', unit: 'ms', values: of(name, 'worstMs') },
      { name, metric: 'longest time without service, mean of the clients', unit: 'ms', values: of(name, 'meanMs') },
    ]),
    ratios: results[keepalivedDefault]
      ? [member, coordinator].map((name) => ({
          name: `keepalived default / worst of ${name}`,
          values: of(keepalivedDefault, 'worstMs').map((ms) => ms / worst(name)),
        }))
      : [],
    plots: [
      {
        ...{ file: 'failover.svg', title: `${title}: longest time without service`, unit: 'ms' },
        bars: names.map((label) => ({ label, ...spread(of(label, 'worstMs')) })),
      },
    ],
    notes,
  };
}
