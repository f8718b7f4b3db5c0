// A planned change: everything that one host serves is to be served by another, while 10,000 connections are open.
//
// - manycast: a policy is saved that gives all slots to another of three replicas, handoff `forward`.
// - HAProxy in front of two hosts, mode tcp (in mode http a reload closes what is idle), as many threads as cores, which it sets by itself: a configuration that names the other host, and SIGUSR2 to the
//   master. Without `hard-stop-after` the old worker stays until its last client has left, as a replica of manycast does; with it, what is left then is closed. Five seconds here, minutes where it is used: it
//   breaks the connections that last longer.
// - keepalived, two hosts, defaults: it is stopped on the host that has the address, as systemctl does, and the other takes it.
//
// Measured: how long until a fresh connection of each of four client addresses is answered by the new host; the longest time in which one of them got no answer; how many of the open connections do not
// answer afterwards, once all has come to rest. All have nginx in their hosts.
//
// Left out: what it costs to have a proxy in the path, and that it is one more host that can fail.
import { connectionsMax } from '../moves/connections.mjs';
import { plannedWays } from '../moves/planned.mjs';
import { hasProgram } from '../programs.mjs';
import { interleaved } from '../rounds.mjs';
import { spread } from '../statistics.mjs';

export const title = 'A planned change while connections are open';
export const programs = ['nginx-light', 'haproxy', 'keepalived'];

const sizes = { quick: { connections: 1000, rounds: 1 }, full: { connections: 10_000, rounds: 3 } };

/** In the order of the plots. */
const ways = [
  { name: 'manycast, forward', run: plannedWays.manycast },
  { name: 'HAProxy, reload', needs: 'haproxy', run: plannedWays.haproxy },
  { name: 'HAProxy, reload, hard-stop-after', needs: 'haproxy', run: plannedWays.haproxyHardStop },
  { name: 'keepalived, default, stopped', needs: 'keepalived', run: plannedWays.keepalivedStop },
  { name: 'keepalived, 100 ms, stopped', needs: 'keepalived', run: plannedWays.tunedKeepalivedStop },
];

export async function measure({ quick, say }) {
  const notes = [];
  if (!hasProgram('nginx-light'))
    return { metrics: [], ratios: [], plots: [], notes: ['nginx is not there: nothing measured.'] };
  const { connections, rounds } = quick ? sizes.quick : sizes.full;
  // A proxy has two descriptors for each.
  const count = Math.min(connections, Math.floor(connectionsMax() / 2));
  if (count < connections)
    notes.push(`A process may have so few descriptors here that a proxy holds ${count} connections: all have as many.`);
  const able = ways.filter(({ name, needs }) => {
    if (needs === undefined || hasProgram(needs)) return true;
    notes.push(`${needs} is not there: "${name}" is left out.`);
    return false;
  });
  const running = Object.fromEntries(able.map(({ name, run }) => [name, () => run(count)]));
  return { ...figures(await interleaved(running, rounds, say), count), notes };
}

function figures(results, count) {
  const names = Object.keys(results);
  const of = (name, what) => results[name].map((each) => each[what]);
  const metric = (what, unit, key) => names.map((name) => ({ name, metric: what, unit, values: of(name, key) }));
  const brokenShare = (name) => of(name, 'broken').map((broken) => broken / count);
  const heading = `Planned change with ${count.toLocaleString('en')} connections`;
  const bars = (valuesOf) => names.map((label) => ({ label, ...spread(valuesOf(label)) }));
  return {
    metrics: [
      ...metric('all clients answered by the new host', 'ms', 'takenMs'),
      ...metric('longest time without an answer', 'ms', 'gapMs'),
      ...metric(`connections broken, of ${count.toLocaleString('en')}`, 'count', 'broken'),
    ],
    ratios: names.map((name) => ({ name: `connections broken / open, ${name}`, values: brokenShare(name) })),
    plots: [
      {
        ...{ file: 'planned-broken.svg', title: `${heading}: broken`, unit: '%' },
        bars: bars((name) => brokenShare(name).map((share) => 100 * share)),
      },
      {
        ...{ file: 'planned-taken.svg', title: `${heading}: all clients answered by the new host`, unit: 'ms' },
        bars: bars((name) => of(name, 'takenMs')),
      },
    ],
  };
}
