// Uses one way to the replicas once, with every load in turn.
import { until } from './commands.mjs';
import { bulk, newConnections, processorSeconds, requests } from './load.mjs';

/** Connections of all clients together. */
const connectionsOfAll = 24;

/**
 * @typedef {{ rate: number, p50: number, p99: number, cpu: number, connections: number, up: number, down: number, daemons: number, errors: number }} Seen
 *   requests a second, milliseconds, microseconds of processor time a request, connections a second, Gbit/s, the part of one processor that manycast's daemons took all together, and requests that failed
 */

/**
 * @param {object} lab of `startWebLab`
 * @param {import('./data-path-ways.mjs').Way} way
 * @param {{ requests: number, connections: number, bulk: number }} seconds of each load
 * @returns {Promise<Seen>}
 */
export async function useWay(lab, way, seconds) {
  const targets = lab.pairs.map((pair) => ({ host: pair.client, address: way.addressOf(pair) }));
  await lab.setRunning(way.running);
  await routeFrom(lab, way);
  const undo = await way.start?.(() => isEven(lab, targets));
  try {
    await check(lab, way, targets);
    const connections = Math.round(connectionsOfAll / targets.length);
    const [startMs, spent] = [performance.now(), processorSeconds(lab.daemons)];
    const kept = await requests(lab.run, targets, { seconds: seconds.requests, connections });
    const daemons = (processorSeconds(lab.daemons) - spent) / ((performance.now() - startMs) / 1000);
    const fresh = await newConnections(lab.run, targets, { seconds: seconds.connections, connections });
    const up = await bulk(lab.run, targets[0], { seconds: seconds.bulk, down: false });
    const down = await bulk(lab.run, targets[0], { seconds: seconds.bulk, down: true });
    return { ...kept, connections: fresh.rate, up, down, daemons, errors: kept.errors + fresh.errors };
  } finally {
    await undo?.();
  }
}

/** wrk cannot be told an address of its own; the route is. */
async function routeFrom({ plan, pairs, run }, { addressOf, viaRouter }) {
  const hop = viaRouter ? ['via', plan.routers[0].clientSide] : ['dev', 'eth0'];
  for (const pair of pairs)
    await run(pair.client, ['ip', 'route', 'replace', `${addressOf(pair)}/32`, ...hop, 'src', pair.from]);
}

async function isEven({ run }, targets) {
  return new Set(await answers(run, targets)).size === targets.length;
}

/** A way that does not lead where it should is not measured. Daemons that have stood still may need a moment. */
async function check({ pairs, run }, { isOwn }, targets) {
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
