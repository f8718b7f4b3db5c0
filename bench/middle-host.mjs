// What stands between clients and replicas elsewhere: HAProxy, nginx, the kernel's own address translation; and one recipe that needs nothing between. Each as one would run it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { end, start, until } from './commands.mjs';
import { tuning } from './web-lab.mjs';

export const streamModule = '/usr/lib/nginx/modules/ngx_stream_module.so';
const ports = [80, 5201];
/** Tried, until one spreads the clients evenly: with few clients, a hash may put all on one replica. */
const seedsMax = 100;

/**
 * A machine beside the others on the bridge of a `segment` lab: its namespace goes with the lab.
 * @returns {{ name: string, address: string }}
 */
export function attachMiddleHost({ name, plan }) {
  const [namespace, address] = [`mc-${name}-mid`, '10.77.0.200'];
  const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  ip('netns', 'add', namespace);
  ip('-n', plan.switchNamespace, 'link', 'add', 'mid', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
  ip('-n', plan.switchNamespace, 'link', 'set', 'mid', 'master', 'br0', 'up');
  // Not a replica's port: frames to the group stay away from it, as from a client's.
  ip('-n', plan.switchNamespace, 'link', 'set', 'mid', 'type', 'bridge_slave', 'mcast_flood', 'off');
  ip('-n', namespace, 'link', 'set', 'lo', 'up');
  ip('-n', namespace, 'link', 'set', 'eth0', 'up');
  ip('-n', namespace, 'address', 'add', `${address}/16`, 'dev', 'eth0');
  // It sends packets back out of the device they came by, and must not tell their senders of a shorter way.
  const router = ['ip_forward=1', 'conf.all.send_redirects=0', 'conf.eth0.send_redirects=0'].map(
    (each) => `net.ipv4.${each}`,
  );
  ip('netns', 'exec', namespace, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', ...tuning, ...router);
  return { namespace, address };
}

/**
 * HAProxy in TCP mode, started on a host; least work for each byte: splice where it pays, no log.
 * @returns {() => Promise<void>} ends it
 */
export async function startHaproxy(host, { plan }, threads) {
  const servers = plan.replicas.map(({ name, address }) => ({ name, address }));
  const proxy = (port, balance) => `listen p${port}
  bind :${port}
  balance ${balance}
${servers.map(({ name, address }) => `  server ${name} ${address}:${port}\n`).join('')}`;
  const config = `global
  nbthread ${threads}
  maxconn 4000
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 60s
  timeout server 60s
${proxy(ports[0], 'roundrobin')}
${proxy(ports[1], 'source')}`;
  return startDaemon(host, config, (path) => ['haproxy', '-db', '-f', path]);
}

/** nginx as a proxy of streams: a worker for each processor, each with a listening socket of its own. */
export async function startNginxStream(host, { plan }) {
  const upstream = (port, how) =>
    `upstream u${port} { ${how} ${plan.replicas.map(({ address }) => `server ${address}:${port};`).join(' ')} }
  server { listen ${port} reuseport backlog=4096; proxy_pass u${port}; }`;
  const config = `load_module ${streamModule};
daemon off; user root; error_log stderr crit; worker_processes auto;
events { worker_connections 4096; }
stream {
  ${upstream(ports[0], '')}
  ${upstream(ports[1], 'hash $remote_addr;')}
}
`;
  return startDaemon(host, config, (path) => ['nginx', '-c', path, '-g', `pid ${path}.pid;`]);
}

/**
 * The kernel of the middle host gives each client to a replica by a hash of its address, and the answers come back by way of it: one machine translates both ways, no process touches a byte.
 * @param {string[]} froms the clients' addresses
 * @param {() => Promise<boolean>} isEven whether the clients are on different replicas
 * @returns {() => Promise<void>} undoes it
 */
export async function startTranslation(host, { plan, run }, froms, isEven) {
  const nft = (rules) => inside(host, ['nft', '-f', '-'], rules);
  // A busy translator forgets connections that have ended sooner than after two minutes.
  inside(host, ['sysctl', '-qw', 'net.netfilter.nf_conntrack_tcp_timeout_time_wait=10']);
  for (const { name } of plan.replicas) {
    for (const from of froms) await run(name, ['ip', 'route', 'replace', `${from}/32`, 'via', host.address]);
  }
  const undo = async () => {
    inside(host, ['nft', 'delete', 'table', 'ip', 'rival']);
    for (const { name } of plan.replicas) {
      for (const from of froms) await run(name, ['ip', 'route', 'delete', `${from}/32`]);
    }
  };
  const backends = plan.replicas.map(({ address }, i) => `${i} : ${address}`).join(', ');
  const install = (seed) =>
    nft(`table ip rival
delete table ip rival
table ip rival {
  chain arriving {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr ${host.address} tcp dport { ${ports.join(', ')} } dnat to jhash ip saddr mod ${plan.replicas.length} seed ${seed} map { ${backends} }
  }
}
`);
  await firstEven(install, isEven, undo);
  return undo;
}

/**
 * Without anything between, as the kernel's CLUSTERIP did and its `cluster` match does: the service address has a multicast MAC, every replica gets every frame, and a rule drops those whose hash is another's number.
 * Who is which number stays as it is written: nobody notices a replica that is gone.
 * @returns {() => Promise<void>} undoes it
 */
export async function startHashRecipe({ plan, run }, { address, mac }, isEven) {
  const everyReplica = (of) => Promise.all(plan.replicas.map((replica, i) => of(replica.name, i)));
  await everyReplica((name) =>
    run(name, ['sh', '-c', `ip address add ${address}/32 dev lo; ip maddress add ${mac} dev eth0`]),
  );
  const onClients = (verb) =>
    Promise.all(
      plan.clients.map(({ name }) =>
        run(name, ['ip', 'neighbour', verb, address, 'lladdr', mac, 'dev', 'eth0', 'nud', 'permanent']),
      ),
    );
  await onClients('replace');
  const undo = async () => {
    await onClients('delete');
    await everyReplica((name) =>
      run(name, [
        'sh',
        '-c',
        `nft delete table netdev rival; ip maddress del ${mac} dev eth0; ip address del ${address}/32 dev lo`,
      ]),
    );
  };
  const install = (seed) =>
    everyReplica((name, i) =>
      run(name, ['nft', '-f', '-'], {
        input: `table netdev rival
delete table netdev rival
table netdev rival {
  chain arriving {
    type filter hook ingress device "eth0" priority 1; policy accept;
    ip daddr ${address} jhash ip saddr mod ${plan.replicas.length} seed ${seed} != ${i} drop
    ip daddr ${address} meta pkttype set unicast
  }
}
`,
      }),
    );
  await firstEven(install, isEven, undo);
  return undo;
}

async function firstEven(install, isEven, undo) {
  try {
    for (let seed = 1; seed <= seedsMax; seed++) {
      await install(seed);
      if (await isEven()) return;
    }
    throw new Error(`no seed of ${seedsMax} spreads the clients evenly`);
  } catch (error) {
    await undo();
    throw error;
  }
}

async function startDaemon(host, config, argvOf) {
  const directory = mkdtempSync(join(tmpdir(), 'manycast-bench-'));
  const path = join(directory, 'rival.conf');
  writeFileSync(path, config);
  const child = start(['ip', 'netns', 'exec', host.namespace, ...argvOf(path)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const stop = async () => {
    await end(child);
    rmSync(directory, { recursive: true });
  };
  const listens = () => ports.every((port) => inside(host, ['ss', '-Hltn', `sport = :${port}`]).includes('LISTEN'));
  await until(argvOf(path).join(' '), listens).catch(async (error) => {
    await stop();
    throw error;
  });
  return stop;
}

function inside({ namespace }, argv, input = '') {
  return execFileSync('ip', ['netns', 'exec', namespace, ...argv], {
    encoding: 'utf8',
    input,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}
