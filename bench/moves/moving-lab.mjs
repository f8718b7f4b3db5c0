// A lab of three replicas with nginx, and connections from 252 addresses that are held open while slots move between two of the replicas.
import { until } from '../commands.mjs';
import { startLab } from '../lab.mjs';
import { webServer } from '../web-server.mjs';
import { connectionsOf } from './connections.mjs';
import { followShares } from './shares.mjs';

export const clientSize = { clients: 4, addresses: 63 };

/**
 * Has `use` do what it does with `{lab, shares, connections, settled()}`, where all slots are r1's to begin with, and takes all down. `settled` resolves when no slot is on its way.
 * @template T
 * @param {(parts: { lab: object, shares: object, connections: object, settled: () => Promise<void> }) => Promise<T>} use
 * @returns {Promise<T>}
 */
export async function withMovingLab(use) {
  const server = webServer();
  const ends = [() => server.remove()];
  try {
    const lab = await startLab({ replicas: 3, ...clientSize, ports: '80/tcp', serve: server.command() });
    ends.push(() => lab.end());
    const shares = followShares(lab);
    ends.push(() => shares.close());
    const connections = connectionsOf(lab.plan.clients, { host: lab.plan.service.address });
    ends.push(() => connections.close());
    const isStill = async (name) => (await lab.status(name)).moves.length === 0;
    const settled = () => until('no slot is on its way', async () => (await isStill('r1')) && (await isStill('r2')));
    await shares.move('r1', 0, 256);
    await settled();
    return await use({ lab, shares, connections, settled });
  } finally {
    for (const end of ends.reverse()) await end();
  }
}
