// The ways to a replica that the data path's case compares, each with what has to stand while it is used.
import { startHaproxy, startHashRecipe, startNginxStream, startTranslation } from './middle-host.mjs';
import { hasProgram } from './programs.mjs';

/**
 * @typedef {{
 *   running: boolean, addressOf: (pair: object) => string, viaRouter?: boolean, start?: (isEven: () => Promise<boolean>) => Promise<() => Promise<void>>, isOwn?: boolean
 * }} Way whether manycast's daemons run, whom a client asks, whether by way of the router, what is started before and gives how to undo it, and whether each client must find the replica of its share
 */

/** What a person calls the ways, in reports and ratios. */
export const names = {
  direct: 'direct',
  beside: 'direct, agents running',
  segment: (replicas) => `manycast segment, ${replicas} replicas`,
  ownerOnly: 'manycast segment, frames to the owner alone',
  haproxy: (threads) => `HAProxy, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
  nginx: 'nginx stream',
  translation: 'nftables DNAT on a middle host',
  recipe: 'nftables jhash on every replica',
  plain: 'plain routing',
  besideRouted: 'plain routing, daemons running',
  router: 'manycast router, 3 replicas',
  haproxyRouted: (threads) => `HAProxy on the router, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
};
/** Threads of HAProxy that are tried, of which the better counts. */
export const threadCounts = [1, 2];

const replicaAddress = ({ replica }) => replica.address;
/** Of the recipe; its MAC is that of the group 239.77.0.101 (RFC 1112, section 6.4). */
const recipe = { address: '10.77.0.101', mac: '01:00:5e:4d:00:65' };

/**
 * In a `segment` lab of any size.
 * @returns {Record<string, Way>}
 */
export function segmentWays({ plan }) {
  const suffix = plan.replicas.length === 3 ? '' : `, ${plan.replicas.length} replicas`;
  return {
    [`${names.direct}${suffix}`]: { running: false, addressOf: replicaAddress },
    [`${names.beside}${suffix}`]: { running: true, addressOf: replicaAddress },
    [names.segment(plan.replicas.length)]: { running: true, addressOf: () => plan.service.address, isOwn: true },
  };
}

/**
 * What else one would do on the same bridge. Those whose program is not there are left out.
 * @param {object} lab of 3 replicas
 * @param {{ namespace: string, address: string }} middle
 * @returns {Record<string, Way>}
 */
export function rivalWays(lab, middle) {
  const atMiddle = (start) => ({ running: false, addressOf: () => middle.address, start });
  const haproxy = (threads) => [names.haproxy(threads), atMiddle(() => startHaproxy(middle, lab, threads))];
  const froms = lab.pairs.map(({ from }) => from);
  return {
    [names.ownerOnly]: {
      running: true,
      addressOf: () => lab.plan.service.address,
      isOwn: true,
      start: () => ownerOnly(lab),
    },
    ...Object.fromEntries(hasProgram('haproxy') ? threadCounts.map(haproxy) : []),
    ...(hasProgram('libnginx-mod-stream') ? { [names.nginx]: atMiddle(() => startNginxStream(middle, lab)) } : {}),
    [names.translation]: atMiddle((isEven) => startTranslation(middle, lab, froms, isEven)),
    [names.recipe]: {
      running: false,
      addressOf: () => recipe.address,
      start: (isEven) => startHashRecipe(lab, recipe, isEven),
    },
  };
}

/**
 * In a `router` lab.
 * @returns {Record<string, Way>}
 */
export function routedWays(lab) {
  const { plan } = lab;
  const [router] = plan.routers;
  const haproxy = (threads) => [
    names.haproxyRouted(threads),
    { running: false, addressOf: () => router.clientSide, start: () => startHaproxy(router, lab, threads) },
  ];
  return {
    [names.plain]: { running: false, addressOf: replicaAddress, viaRouter: true },
    [names.besideRouted]: { running: true, addressOf: replicaAddress, viaRouter: true },
    [names.router]: { running: true, addressOf: () => plan.service.address, viaRouter: true, isOwn: true },
    ...Object.fromEntries(hasProgram('haproxy') ? threadCounts.map(haproxy) : []),
  };
}

/** Each client sends to the owner's own link address, as it were of a switch that knew the shares: what is saved is the bridge's copying and the others' dropping. */
async function ownerOnly({ plan, pairs, run }) {
  const { address } = plan.service;
  for (const { client, replica } of pairs) {
    const mac = (await run(replica.name, ['cat', '/sys/class/net/eth0/address'])).trim();
    await run(client, ['ip', 'neighbour', 'replace', address, 'lladdr', mac, 'dev', 'eth0', 'nud', 'permanent']);
  }
  return async () => {
    for (const { client } of pairs) await run(client, ['ip', 'neighbour', 'delete', address, 'dev', 'eth0']);
  };
}
