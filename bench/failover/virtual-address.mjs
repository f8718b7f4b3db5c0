// Two hosts of which one has the virtual address, the other waits.
import { execFileSync } from 'node:child_process';
import { segment, serviceAddress } from '../segment.mjs';
import { webServer } from '../web-server.mjs';
import { clientSize, outage, steadily } from './outage.mjs';

/**
 * Starts nginx and the daemon that `daemonOf(host, peer, directory)` names (an argv) in each host, and crashes the one that has the address.
 * @param {string} name of the network
 * @param {(host: object, directory: string) => string[]} daemonOf
 */
export async function virtualAddressCrash(name, daemonOf) {
  const { isUp, ...pair } = virtualAddressPair(name, { hosts: 2, ...clientSize }, daemonOf);
  try {
    await isUp();
    const { segment: where } = pair;
    return await outage({
      clients: where.clients,
      service: serviceAddress,
      crashHost: () => where.crash(pair.holders()[0].name),
    });
  } finally {
    await pair.remove();
  }
}

/** Both hosts with server and daemon: `{segment, daemons, holders(), isUp(), remove()}`. */
export function virtualAddressPair(name, size, daemonOf) {
  const server = webServer();
  const where = segment(name, size);
  const { net, hosts } = where;
  const holders = () =>
    hosts.filter(({ namespace }) =>
      execFileSync('ip', ['-n', namespace, '-o', 'address', 'show', 'to', serviceAddress], { encoding: 'utf8' }),
    );
  const daemons = hosts.map((host) => {
    net.start(host.name, ['sh', '-c', server.command(host.name)]);
    return net.start(host.name, daemonOf(host, server.directory));
  });
  return {
    segment: where,
    daemons,
    holders,
    /** One host has the address, and keeps it. */
    isUp: () => steadily(() => holders().length === 1, `${name}: one host has the address`, 1500),
    async remove() {
      await where.remove();
      server.remove();
    },
  };
}
