// What clients see of a host that loses power.
import { setTimeout as delay } from 'node:timers/promises';
import { gapsOf, now, startProbes } from '../probes.mjs';

const readyMsMax = 60_000;
const outageMsMax = 15_000;
const beforeMs = 500;
const afterMs = 700;

/** Two machines of four addresses. */
export const clientSize = { clients: 2, addresses: 4 };

/**
 * Probes a service that is up, has `crashHost` do what it does, and waits until all are served again: `{worstMs, meanMs, isServed}`,
 * the longest time without service of the client address that had the longest, and the mean of all addresses.
 * @param {{ clients: object[], service: string, crashHost: () => void }} way `clients` as of a lab's plan
 */
export async function outage({ clients, service, crashHost }) {
  const probes = startProbes(clients, service);
  try {
    if (!(await probes.served(now(), beforeMs, readyMsMax)))
      throw new Error(`${service} is not served before anything happens`);
    const from = now() - beforeMs / 2;
    crashHost();
    const crashed = now();
    const isServed = await probes.served(crashed, afterMs, outageMsMax);
    const gaps = gapsOf(probes.records, from, now());
    await probes.end();
    return { worstMs: Math.max(...gaps), meanMs: gaps.reduce((sum, ms) => sum + ms, 0) / gaps.length, isServed };
  } finally {
    await probes.end();
  }
}

/** Waits until a condition holds, and then for so long that it is no passing state. */
export async function steadily(holds, what, forMs = 300) {
  let since = null;
  for (const end = now() + readyMsMax; ; await delay(20)) {
    if (!holds()) since = null;
    else since ??= now();
    if (since !== null && now() - since >= forMs) return;
    if (now() > end) throw new Error(`${what}: not within ${readyMsMax} ms`);
  }
}
