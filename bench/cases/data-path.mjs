// What a request, a connection and a byte cost on their way to a replica: straight to it, as manycast delivers, and by way of what else one would put in between.
//
// A lab of manycast is the network of all: the same bridge, clients, replicas and servers. Each way is used in turn by all clients at once, 24 connections together, each client from an address of another
// replica's share: wrk with connections that are kept, wrk with pauses, which makes a load that is the same for all, wrk with a new connection for each request, and one stream of iperf3 up and one down. Rivals run on one more machine of that bridge; in the lab with a router,
// HAProxy runs on the router itself. Daemons of manycast stand still while others are measured; "agents running" is a direct connection beside them, so that their work, which real replicas do on
// processors of their own, can be told from that of the path.
//
// What the figures leave out: network cards and wires, for all hosts share this machine's processors; so a host in the middle takes what it needs from the others, and the bridge's copying is work for them
// too. The switch of the lab floods to replicas alone. Latencies at full load are those of clients that ask again as soon as they have an answer, and keep all processors busy: who carries more has longer queues, and wrk counts a stall as often as requests would have met it, so that one
// connection that stalls can make most of the 99th percentile. They are printed, and compared is the load that is the same for all. Manycast's table stands in the kernel while others are measured:
// one comparison for a packet.
import { useWay } from '../data-path-run.mjs';
import { names, rivalWays, routedWays, segmentWays, threadCounts } from '../data-path-ways.mjs';
import { attachMiddleHost } from '../middle-host.mjs';
import { hasProgram } from '../programs.mjs';
import { interleaved } from '../rounds.mjs';
import { median, spread } from '../statistics.mjs';
import { startWebLab } from '../web-lab.mjs';

export const title = 'Data path: requests, latency, connections, bulk';
export const programs = ['wrk', 'iperf3', 'nginx-light', 'libnginx-mod-stream', 'haproxy', 'curl'];

const full = {
  rounds: 5,
  sizeRounds: 3,
  sizes: [2, 5, 8],
  seconds: { requests: 3, paced: 2, connections: 2, bulk: 2 },
};
const quickly = { rounds: 1, sizeRounds: 1, sizes: [], seconds: { requests: 1, paced: 1, connections: 1, bulk: 1 } };
const columns = {
  rate: ['requests', '1/s'],
  p50: ['latency p50 at full load', 'ms'],
  p99: ['latency p99 at full load', 'ms'],
  pacedRate: ['requests at an equal load', '1/s'],
  pacedP50: ['latency p50 at an equal load', 'ms'],
  pacedP99: ['latency p99 at an equal load', 'ms'],
  cpu: ['processor time of all hosts', 'µs a request'],
  connections: ['new connections', '1/s'],
  up: ['bulk to the replica', 'Gbit/s'],
  down: ['bulk to the client', 'Gbit/s'],
  daemons: ["manycast's daemons", 'processors'],
};

export async function measure({ quick, say }) {
  const { rounds, sizeRounds, sizes, seconds } = quick ? quickly : full;
  const rivals = (lab) => ({ ...segmentWays(lab), ...rivalWays(lab, attachMiddleHost(lab)) });
  const notes = [];
  const told = { say, notes };
  const seen = {
    ...(await inLab({ replicas: 3, delivery: 'segment' }, rivals, rounds, seconds, told)),
    ...(await inLab({ replicas: 3, delivery: 'router' }, routedWays, rounds, seconds, told)),
  };
  for (const replicas of sizes) {
    Object.assign(seen, await inLab({ replicas, delivery: 'segment' }, segmentWays, sizeRounds, seconds, told));
  }
  notes.unshift(...notesOf(seen, quick));
  return { metrics: metricsOf(seen), ratios: ratiosOf(seen, sizes), plots: plotsOf(seen, sizes), notes };
}

/**
 * A way that fails is said, not tried again, and left out; the others go on.
 * @returns {Promise<Record<string, import('../data-path-run.mjs').Seen[]>>} of each way, in the order of the rounds
 */
async function inLab(size, waysOf, rounds, seconds, { say, notes }) {
  say(`lab: ${size.delivery} delivery, ${size.replicas} replicas`);
  const lab = await startWebLab(size);
  const failed = new Set();
  const attempt = async (name, way) => {
    if (failed.has(name)) return null;
    return useWay(lab, way, seconds).catch((error) => {
      failed.add(name);
      notes.push(`${name}: left out, it failed: ${error.message}`);
      say(`${name} failed: ${error.stack}`);
      return null;
    });
  };
  try {
    const ways = Object.entries(waysOf(lab)).map(([name, way]) => [name, () => attempt(name, way)]);
    const seen = await interleaved(Object.fromEntries(ways), rounds, say);
    return Object.fromEntries(Object.entries(seen).filter(([name]) => !failed.has(name)));
  } finally {
    await lab.setRunning(true).catch(() => {});
    await lab.end();
  }
}

function metricsOf(seen) {
  return Object.entries(seen).flatMap(([name, list]) =>
    Object.entries(columns).map(([key, [metric, unit]]) => ({
      name,
      metric,
      unit,
      values: list.map((each) => each[key]),
    })),
  );
}

function ratiosOf(seen, sizes) {
  const { direct, beside, ownerOnly, nginx, translation, recipe, plain, besideRouted, router } = names;
  const segment = names.segment(3);
  const between = (one, other, keys) => ratiosBetween(seen, one, other, keys);
  const path = ['rate', 'pacedP50', 'pacedP99', 'cpu', 'connections', 'up', 'down'];
  return [
    ...between(segment, direct, path),
    ...between(segment, beside, path),
    ...between(ownerOnly, beside, path),
    ...between(segment, ownerOnly, path),
    ...threadCounts.flatMap((threads) => between(segment, names.haproxy(threads), path)),
    ...[nginx, translation, recipe].flatMap((rival) => between(segment, rival, path)),
    ...between(router, plain, path),
    ...between(router, besideRouted, path),
    ...threadCounts.flatMap((threads) => between(router, names.haproxyRouted(threads), path)),
    ...sizes.flatMap((replicas) =>
      [direct, beside].flatMap((each) =>
        between(names.segment(replicas), `${each}, ${replicas} replicas`, ['rate', 'connections', 'up']),
      ),
    ),
  ];
}

/** Round by round, so that what the machine did meanwhile is in both. Nothing when one of the two was left out. */
function ratiosBetween(seen, one, other, keys) {
  const [ours, theirs] = [seen[one], seen[other]];
  if (!ours || !theirs) return [];
  return keys.map((key) => ({
    name: `${one} / ${other}: ${columns[key][0]}`,
    values: ours.map((each, i) => each[key] / theirs[i][key]),
  }));
}

function plotsOf(seen, sizes) {
  const ofThree = Object.keys(seen).filter(
    (name) => !sizes.some((replicas) => name.endsWith(`, ${replicas} replicas`)),
  );
  const plot = (file, key) => {
    const [metric, unit] = columns[key];
    const bars = ofThree.map((label) => ({ label, ...spread(seen[label].map((each) => each[key])) }));
    return { file: `data-path-${file}.svg`, title: `${metric}, 3 replicas`, unit, bars };
  };
  return [
    ...[plot('requests', 'rate'), plot('cpu', 'cpu'), plot('connections', 'connections')],
    ...[plot('paced-p50', 'pacedP50'), plot('paced-p99', 'pacedP99')],
    ...[plot('bulk-up', 'up'), plot('bulk-down', 'down')],
    ...(sizes.length > 0 ? [plotBySize(seen, [3, ...sizes].sort())] : []),
  ];
}

function plotBySize(seen, sizes) {
  const directOf = (name) => (replicas) => (replicas === 3 ? name : `${name}, ${replicas} replicas`);
  const line = (label, nameOf) => ({
    label,
    points: sizes.flatMap((replicas) => {
      const rates = seen[nameOf(replicas)]?.map(({ rate }) => rate);
      return rates ? [[replicas, median(rates)]] : [];
    }),
  });
  return {
    file: 'data-path-replicas.svg',
    title: 'Requests by the number of replicas, all on the same processors',
    ...{ x: 'replicas', y: '1/s' },
    lines: [
      line('direct', directOf(names.direct)),
      line(names.beside, directOf(names.beside)),
      line('manycast segment', names.segment),
    ],
  };
}

function notesOf(seen, quick) {
  const failed = Object.entries(seen).flatMap(([name, list]) => {
    const errors = list.reduce((sum, each) => sum + each.errors, 0);
    return errors > 0 ? [`${name}: ${errors} requests failed in all rounds together`] : [];
  });
  const left = ['haproxy', 'libnginx-mod-stream']
    .filter((name) => !hasProgram(name))
    .map((name) => `left out: ${name} is not there`);
  return [
    'All hosts share the processors of this machine: of a direct connection, too, most of the time is that of clients and servers. Processor time is that of the whole machine.',
    'direct: clients ask the address of a replica itself; manycast segment, router: the service address; frames to the owner alone: the same, as if the switch knew the shares, which shows what copying and rejecting cost; plain routing: the address of a replica, by way of the router. Daemons run where the name says so, and with manycast.',
    'Latencies at full load, with stalls as wrk counts them (once for each request that would have met one), swing with a single stalled connection; those at an equal load are to be compared.',
    ...(quick ? ['One round of a second for each load: the full run has the figures to quote.'] : []),
    ...failed,
    ...left,
  ];
}
