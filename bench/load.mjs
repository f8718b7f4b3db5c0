// Loads that are put on a service, and what came of them: wrk for requests and connections, iperf3 for bulk.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { machineTicks, ticksPerSecond } from './machine.mjs';

const latencies = fileURLToPath(new URL('latencies.lua', import.meta.url));

/**
 * @typedef {(host: string, argv: string[]) => Promise<string>} Run runs a command on a host
 * @typedef {{ host: string, address: string }} Target a host that asks, and whom it asks
 */

/**
 * wrk on all hosts at once, with connections that are kept.
 * @param {Run} run
 * @param {Target[]} targets
 * @param {{ seconds: number, connections: number }} load connections of each host
 * @returns requests a second of all together, their latencies in milliseconds, and microseconds of processor time of the whole machine that a request took; what wrk does with its figures afterwards is not in it
 */
export async function requests(run, targets, load) {
  const before = machineTicks().busy;
  const busy = delay(load.seconds * 1000).then(() => (machineTicks().busy - before) / ticksPerSecond / load.seconds);
  const [{ rate, errors, histogram }, processors] = await Promise.all([wrk(run, targets, load, []), busy]);
  return { rate, ...latenciesOf(histogram), cpu: (processors * 1e6) / rate, errors };
}

/**
 * wrk on all hosts at once, with connections that are kept and wait before each request, up to so long and by lot: a load that nobody's limits, and so the same for all.
 * @param {Run} run
 * @param {Target[]} targets
 * @param {{ seconds: number, connections: number, pauseMsMax: number }} load connections of each host
 * @returns requests a second of all together, and their latencies in milliseconds
 */
export async function pacedRequests(run, targets, load) {
  const { rate, errors, histogram } = await wrk(run, targets, load, []);
  return { rate, ...latenciesOf(histogram), errors };
}

/**
 * wrk on all hosts at once, with a new connection for each request.
 * @returns connections a second of all together
 */
export async function newConnections(run, targets, load) {
  const { rate, errors } = await wrk(run, targets, load, ['-H', 'Connection: close']);
  return { rate, errors };
}

/**
 * One TCP stream of iperf3 between a host and the server that it reaches at an address.
 * @param {Run} run
 * @param {Target} target
 * @param {{ seconds: number, down: boolean }} load `down` is towards the host that asks
 * @returns {Promise<number>} Gbit/s, as received
 */
export async function bulk(run, { host, address }, { seconds, down }) {
  const said = await run(host, ['iperf3', '-J', '-c', address, '-t', `${seconds}`, ...(down ? ['-R'] : [])]);
  return JSON.parse(said).end.sum_received.bits_per_second / 1e9;
}

/**
 * User and system time so far of processes, in seconds, proc(5).
 * @param {number[]} pids
 */
export function processorSeconds(pids) {
  const ticks = pids.map((pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, each) => sum + each, 0) / ticksPerSecond;
}

async function wrk(run, targets, { seconds, connections, pauseMsMax }, headers) {
  const argv = [
    'wrk',
    '-t',
    '1',
    '-c',
    `${connections}`,
    '-d',
    `${seconds}s`,
    '--timeout',
    '5s',
    '-s',
    latencies,
    ...headers,
  ];
  const script = pauseMsMax === undefined ? [] : ['--', `${pauseMsMax}`];
  const said = await Promise.all(
    targets.map(({ host, address }) => run(host, [...argv, `http://${address}/`, ...script])),
  );
  const sum = (of) => said.reduce((total, text) => total + of(text), 0);
  const number = (pattern) => (text) => Number(pattern.exec(text)?.[1]);
  const failedAnswers = (text) => Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0);
  const failed = (text) =>
    [...(/Socket errors: (.*)/.exec(text)?.[1] ?? '').matchAll(/\d+/g)].reduce((all, [each]) => all + Number(each), 0);
  return {
    rate: sum(number(/Requests\/sec:\s+([\d.]+)/)),
    errors: sum(failed) + sum(failedAnswers),
    histogram: histogramOf(said),
  };
}

function latenciesOf(histogram) {
  const [p50, p99] = [0.5, 0.99].map((part) => percentile(histogram, part) / 1000);
  return { p50, p99 };
}

/** How often each latency was seen, the least first. */
function histogramOf(texts) {
  const counts = new Map();
  for (const [, value, count] of texts.flatMap((text) => [...text.matchAll(/^latency (\d+) (\d+)$/gm)])) {
    counts.set(Number(value), (counts.get(Number(value)) ?? 0) + Number(count));
  }
  return [...counts].sort(([a], [b]) => a - b);
}

function percentile(histogram, part) {
  const all = histogram.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  for (const [value, count] of histogram) {
    seen += count;
    if (seen >= all * part) return value;
  }
  return Number.NaN;
}
