// A lab whose replicas serve tiny answers with nginx and bulk with iperf3, its machines tuned alike, and pairs of a client and the replica that owns its address.
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './commands.mjs';
import { startLab } from './lab.mjs';

/**
 * Of all machines alike: enough ports for many short connections, and a congestion control that every kernel has and lets a namespace choose. On wires without loss it is as good as any; that of this machine may be
 * one that paces, and then bulk would measure timers.
 */
export const tuning = [
  'net.ipv4.ip_local_port_range=1024 65000',
  'net.ipv4.tcp_tw_reuse=1',
  'net.ipv4.tcp_congestion_control=reno',
  'net.core.somaxconn=4096',
];

const server = `daemon off; master_process off; error_log stderr crit;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 100000000; server { listen 80 backlog=4096; location / { return 200 "NODE\\n"; } } }
`;
const addressesMax = 254;

/**
 * As many clients as replicas, each with an address in the share of one: so every way of measuring loads all replicas alike.
 * @param {{ replicas: number, delivery: 'segment' | 'router' }} size
 */
export async function startWebLab({ replicas, delivery }) {
  const template = join(tmpdir(), `manycast-bench-${process.pid}-nginx.conf`);
  writeFileSync(template, server);
  const own = '"$MANYCAST_DIRECTORY/nginx.conf"';
  const serve = `sed "s/NODE/$MANYCAST_NODE/" ${template} >${own}; iperf3 -s >/dev/null & exec nginx -c ${own} -g "pid $MANYCAST_DIRECTORY/nginx.pid;"`;
  const addresses = Math.min(64, Math.floor(addressesMax / replicas));
  try {
    const lab = await startLab({ replicas, clients: replicas, addresses, delivery, ports: '80/tcp,5201/tcp', serve });
    const { plan } = lab;
    for (const { name } of [...plan.replicas, ...plan.clients, ...plan.routers])
      await lab.run(name, ['sysctl', '-qw', ...tuning]);
    return { ...lab, pairs: await pairsOf(lab), pairsNow: () => pairsOf(lab), ...agentsOf(lab) };
  } finally {
    rmSync(template);
  }
}

/** @returns {Promise<{ client: string, from: string, replica: { name: string, address: string } }[]>} */
async function pairsOf({ plan, ownerOf }) {
  return Promise.all(
    plan.replicas.map(async (replica, i) => {
      const client = plan.clients[i];
      for (const from of client.addresses) {
        if ((await ownerOf(from)) === replica.name) return { client: client.name, from, replica };
      }
      throw new Error(`${client.name} has no address in the share of ${replica.name}`);
    }),
  );
}

/** Daemons of manycast, which stand still while others are measured: their work is not that of a rival, or of a direct connection. */
function agentsOf({ plan, agents, routers, status }) {
  const pids = [...agents, ...routers].map(({ pid }) => pid);
  let running = true;
  const signal = (name) => {
    for (const pid of pids) process.kill(pid, name);
  };
  const serve = async () => {
    const all = await Promise.all(plan.replicas.map(({ name }) => status(name)));
    return all.every(({ verdict, settled }) => verdict === 'serving' && settled);
  };
  return {
    daemons: pids,
    async setRunning(wanted) {
      if (wanted === running) return;
      running = wanted;
      signal(wanted ? 'SIGCONT' : 'SIGSTOP');
      if (wanted) await until('the agents, which go on, serve', serve);
    },
  };
}
