// Hosts and client machines on one switch, for rivals: as many, and with addresses as far apart, as those of a manycast lab.
import { execFileSync } from 'node:child_process';
import { network } from './network.mjs';

export const serviceAddress = '10.78.0.100';
const lastByteMax = 254;

/**
 * Hosts "h1", "h2" … at 10.78.0.11 and up, clients "c1" … of `addresses` addresses each. `hosts` and `clients` have what a lab's plan says of its machines: `{name, namespace, address,
 * addresses}`; `net` is the network they are in.
 * @param {string} name
 * @param {{ hosts: number, clients: number, addresses: number }} size
 */
export function segment(name, { hosts, clients, addresses }) {
  const net = network(name);
  net.bridge('br0');
  const machine = (host, address, own) => {
    net.host(host, { eth0: { to: 'br0', addresses: [address, ...own].map((each) => `${each}/16`) } });
    return { name: host, namespace: net.namespaceOf(host), address, addresses: own };
  };
  const lastByte = (i) => 1 + Math.floor((i * lastByteMax) / (clients * addresses));
  const addressesOf = (i) =>
    Array.from({ length: addresses }, (_, k) => `10.78.${101 + i}.${lastByte(k * clients + i)}`);
  return {
    net,
    hosts: Array.from({ length: hosts }, (_, i) => machine(`h${i + 1}`, `10.78.0.${11 + i}`, [])),
    clients: Array.from({ length: clients }, (_, i) => machine(`c${i + 1}`, `10.78.1.${1 + i}`, addressesOf(i))),
    /** As when a host loses power. */
    crash: (host) => crash(net.namespaceOf('sw'), net.portOf(host), net.namespaceOf(host)),
    remove: () => net.remove(),
  };
}

/** As the step `kill: {host}` of scenarios: the cable is dead first, so that nothing the dying processes send gets out. */
export function crash(switchNamespace, port, namespace) {
  execFileSync('ip', ['-n', switchNamespace, 'link', 'set', port, 'down']);
  const pids = execFileSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).split('\n').filter(Boolean);
  for (const pid of pids) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // Ended with its parent.
    }
  }
}
