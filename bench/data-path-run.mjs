// Uses one way to the replicas once, with every load in turn.
import { until } from './commands.mjs';
import { bulk, newConnections, pacedRequests, processorSeconds, requests } from './load.mjs';

/** Connections of all clients together. */
const connectionsOfAll = 24;
/** What all ways can carry with ease: of 192 connections each asks again up to 20 ms after its answer, 18,000 to 19,000 requests a second together. */
const paced = { connectionsOfAll: 192, pauseMsMax: 20 };

/**
 * @typedef {{ rate: number, p50: number, p99: number, cpu: number, pacedRate: number, pacedP50: number, pacedP99: number, connections: number, up: number, down: number, daemons: number, errors: number }} Seen
 *   requests a second, milliseconds, microseconds of processor time a request, requests a second and milliseconds at the load that is the same for all, connections a second, Gbit/s, the part of one processor that manycast's daemons took all together, and requests that failed
 */

/**
 * @param {object} lab of `startWebLab`
 * @param {import('./data-path-ways.mjs').Way} way
 * @param {{ requests: number, paced: number, connections: number, bulk: number }} seconds of each load
 * @returns {Promise<Seen>}
 */
export async function useWay(lab, way, seconds) {
  await lab.setRunning(way.running);
  // Daemons that have stood still may have shared the clients out anew.
  const pairs = way.isOwn ? await lab.pairsNow() : lab.pairs;
  const targets = pairs.map((pair) => ({ host: pair.client, address: way.addressOf(pair) }));
  await routeFrom(lab, pairs, way);
  const undo = await way.start?.(() => isEven(lab, targets));
  try {
    await check(lab, pairs, way, targets);
    const connections = Math.round(connectionsOfAll / targets.length);
    const [startMs, spent] = [performance.now(), processorSeconds(lab.daemons)];
    const kept = await requests(lab.run, targets, { seconds: seconds.requests, connections });
    const daemons = (processorSeconds(lab.daemons) - spent) / ((performance.now() - startMs) / 1000);
    const calm = await pacedRequests(lab.run, targets, {
      seconds: seconds.paced,
      connections: Math.round(paced.connectionsOfAll / targets.length),
      pauseMsMax: paced.pauseMsMax,
    });
    const fresh = await newConnections(lab.run, targets, { seconds: seconds.connections, connections });
    const up = await bulk(lab.run, targets[0], { seconds: seconds.bulk, down: false });
    const down = await bulk(lab.run, targets[0], { seconds: seconds.bulk, down: true });
    const errors = kept.errors + calm.errors + fresh.errors;
    const { rate: pacedRate, p50: pacedP50, p99: pacedP99 } = calm;
    return { ...kept, pacedRate, pacedP50, pacedP99, connections: fresh.rate, up, down, daemons, errors };
  } finally {
    await undo?.();
  }
}

/** wrk cannot be told an address of its own; the route is. */
async function routeFrom({ plan, run }, pairs, { addressOf, viaRouter }) {
  const hop = viaRouter ? ['via', plan.routers[0].clientSide] : ['dev', 'eth0'];
  for (const pair of pairs)
    await run(pair.client, ['ip', 'route', 'replace', `${addressOf(pair)}/32`, ...hop, 'src', pair.from]);
}

async function isEven({ run }, targets) {
  return new Set(await answers(run, targets)).size === targets.length;
}

/** A way that does not lead where it should is not measured. Clients may need a moment to find it. */
async function check({ run }, pairs, { isOwn }, targets) {
  let said = [];
  const isRight = async () => {
    said = await answers(run, targets);
    return pairs.every(({ replica }, i) => (isOwn ? said[i] === replica.name : /^r\d+$/.test(said[i])));
  };
  const wanted = () =>
    pairs.map(
      ({ replica }, i) => `${targets[i].address} answers ${targets[i].host} as "${said[i]}", pair of ${replica.name}`,
    );
  await until('the way leads to the replicas', isRight).catch((error) => {
    throw new Error(`${error.message}: ${wanted().join('; ')}`);
  });
}

/** Who answers each client. */
function answers(run, targets) {
  return Promise.all(
    targets.map(async ({ host, address }) => (await run(host, ['curl', '-s', '-m', '5', `http://${address}/`])).trim()),
  );
}
