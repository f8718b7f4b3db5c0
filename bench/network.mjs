// Namespaces, bridges and cables for topologies that no lab is: those of the rivals. Plain `ip` calls.
import { execFileSync } from 'node:child_process';
import { end, run, start } from './commands.mjs';

/** Networks that stand, so that none is left when the process ends of itself. */
const standing = new Set();
process.on('exit', removeNetworks);

/** Takes down the networks that a failure left. */
export function removeNetworks() {
  for (const each of standing) removeNow(each);
  standing.clear();
}

/**
 * A network of its own, empty. Its namespaces are `mb-NAME-…`; one, `sw`, holds the bridges, and a cable to a bridge ends there at a port that is named for the host and its device.
 * @param {string} name 1 to 10 lower-case letters and digits
 */
export function network(name) {
  const namespaceOf = (host) => `mb-${name}-${host}`;
  const net = { namespaces: new Set(), children: new Set() };
  standing.add(net);

  const add = (host) => {
    ip(['netns', 'add', namespaceOf(host)]);
    net.namespaces.add(namespaceOf(host));
    const quiet = ['disable_ipv6=1'].flatMap((each) =>
      ['all', 'default'].map((where) => `net.ipv6.conf.${where}.${each}`),
    );
    sysctl(host, ...quiet);
    ip(['-n', namespaceOf(host), 'link', 'set', 'lo', 'up']);
  };
  /** @param {string} host @param {...string} settings such as "net.ipv4.ip_forward=1" */
  const sysctl = (host, ...settings) => {
    execFileSync('ip', ['netns', 'exec', namespaceOf(host), 'sysctl', '-qw', ...settings]);
  };
  /** Commands of ip(8) without the leading "ip", in the namespace of a host, or of the switch: "sw". */
  const commands = (host, ...lines) => ip(['-n', namespaceOf(host), '-batch', '-'], lines);
  const inside = (host, argv) => ['ip', 'netns', 'exec', namespaceOf(host), ...argv];

  return {
    namespaceOf,
    sysctl,
    ip: commands,
    /** The port at the switch of a host's device. */
    portOf: (host, device = 'eth0') => `${host}-${device}`,
    /** A switch that floods what it does not know to all ports, and asks nobody for groups, as that of a lab. */
    bridge(bridge) {
      if (!net.namespaces.has(namespaceOf('sw'))) add('sw');
      commands('sw', `link add ${bridge} type bridge stp_state 0 mcast_snooping 0`, `link set ${bridge} up`);
    },
    /**
     * A machine with a cable to each of the bridges: `host('c1', { eth0: { to: 'br0', address: '10.78.1.1/24' } })`; `addresses` where it has several.
     * @param {string} host 1 to 9 letters and digits
     * @param {Record<string, { to: string, address?: string, addresses?: string[] }>} devices
     */
    host(host, devices) {
      add(host);
      for (const [device, { to, address, addresses = address ? [address] : [] }] of Object.entries(devices)) {
        const port = `${host}-${device}`;
        commands(
          'sw',
          `link add ${port} type veth peer name ${device} netns ${namespaceOf(host)}`,
          `link set ${port} master ${to} up`,
        );
        commands(host, `link set ${device} up`, ...addresses.map((each) => `address add ${each} dev ${device}`));
      }
    },
    /** What a command in a host prints; see `run`. */
    run: (host, argv, options) => run(inside(host, argv), options),
    /** Starts a command in a host that goes on until `remove`, or `end` of commands.mjs; see `start`. */
    start(host, argv, options) {
      const child = start(inside(host, argv), options);
      net.children.add(child);
      return child;
    },
    /** Ends what runs in it and takes it down. */
    async remove() {
      await Promise.all([...net.children].map((child) => end(child)));
      removeNow(net);
      standing.delete(net);
    },
  };
}

function removeNow({ namespaces }) {
  for (const namespace of namespaces) {
    try {
      for (const pid of ip(['netns', 'pids', namespace]).split('\n').filter(Boolean))
        process.kill(Number(pid), 'SIGKILL');
    } catch {
      // Ended by itself meanwhile.
    }
    try {
      ip(['netns', 'delete', namespace]);
    } catch {
      // Half made, or removed by somebody else.
    }
  }
}

function ip(args, lines) {
  const input = lines === undefined ? {} : { input: `${lines.join('\n')}\n` };
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], ...input });
}
