// The ways of a planned change, each with all that it needs; see cases/planned-change.mjs.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { keepalived } from '../failover/keepalived.mjs';
import { virtualAddressPair } from '../failover/virtual-address.mjs';
import { gapsOf, now, startProbes } from '../probes.mjs';
import { segment, serviceAddress } from '../segment.mjs';
import { webServer } from '../web-server.mjs';
import { connectionsOf } from './connections.mjs';
import { clientSize, withMovingLab } from './moving-lab.mjs';

const readyMsMax = 60_000;
const changedMsMax = 20_000;
/** Until all has come to rest that was broken. */
const restMs = 1000;
const hardStopSeconds = 5;

/** `{takenMs, gapMs, broken}` of each way: a function of the number of connections. */
export const plannedWays = {
  manycast,
  haproxy: (count) => haproxy(count, null),
  haproxyHardStop: (count) => haproxy(count, hardStopSeconds),
  keepalivedStop: (count) => keepalivedStop(count, {}),
  tunedKeepalivedStop: (count) => keepalivedStop(count, { advertSeconds: 0.1 }),
};

function manycast(count) {
  return withMovingLab(({ lab, shares }) =>
    change({ clients: lab.plan.clients, service: lab.plan.service.address, to: 'r2', count }, async () => {
      const { savedAt } = await shares.move('r2', 0, 256);
      return savedAt;
    }),
  );
}

async function haproxy(count, hardStop) {
  const server = webServer();
  const where = segment('haproxy', { hosts: 3, ...clientSize });
  try {
    const { net, hosts, clients } = where;
    const [one, other, front] = hosts;
    for (const { name } of [one, other]) net.start(name, ['sh', '-c', server.command(name)]);
    net.ip(front.name, `address add ${serviceAddress}/16 dev eth0`);
    const file = join(server.directory, 'haproxy.cfg');
    writeFileSync(file, configuration(one, hardStop));
    const master = net.start(front.name, ['haproxy', '-W', '-f', file]);
    return await change({ clients, service: serviceAddress, to: other.name, count }, async () => {
      writeFileSync(file, configuration(other, hardStop));
      const savedAt = now();
      master.kill('SIGUSR2');
      if (hardStop !== null) await delay(hardStop * 1000);
      return savedAt;
    });
  } finally {
    await where.remove();
    server.remove();
  }
}

/** Mode tcp, because in mode http idle connections are closed by a reload. */
function configuration({ name, address }, hardStop) {
  return `global
  ${hardStop === null ? '' : `hard-stop-after ${hardStop}s`}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend service
  bind ${serviceAddress}:80
  default_backend hosts
backend hosts
  server ${name} ${address}:80 check
`;
}

async function keepalivedStop(count, how) {
  const pair = virtualAddressPair('stopped', { hosts: 2, ...clientSize }, (host, directory) =>
    keepalived(host, directory, how),
  );
  try {
    await pair.isUp();
    const { hosts, clients } = pair.segment;
    const at = hosts.indexOf(pair.holders()[0]);
    return await change({ clients, service: serviceAddress, to: hosts[1 - at].name, count }, async () => {
      const stoppedAt = now();
      pair.daemons[at].kill('SIGTERM');
      return stoppedAt;
    });
  } finally {
    await pair.remove();
  }
}

/** `act` resolves with when it began to change anything, once it has done all that it does. */
async function change({ clients, service, to, count }, act) {
  const machines = clients.map((client) => ({ ...client, addresses: client.addresses.slice(0, 1) }));
  const probes = startProbes(machines, service, { wants: 'answer' });
  const open = connectionsOf(clients, { host: service });
  try {
    if (!(await probes.served(0, 0, readyMsMax))) throw new Error(`${service} is not served before anything changes`);
    await open.open(count);
    // As the last ones may be no more than half open at the server.
    const unanswered = await open.ask();
    if (unanswered > 0) throw new Error(`${unanswered} of ${count} connections do not answer before anything changes`);
    if (!(await probes.served(now(), 500, readyMsMax)))
      throw new Error(`${service} is not served before anything changes`);
    const begun = await act();
    await delay(restMs);
    const takenMs = await taken(probes, to, begun);
    const gapMs = Math.max(...gapsOf(probes.records, begun, now()));
    await probes.end();
    return { takenMs, gapMs, broken: await open.ask() };
  } finally {
    await Promise.all([probes.end(), open.close()]);
  }
}

/** Until the first answer by the new host to each address; the last of them. */
async function taken({ records }, to, begun) {
  const addresses = new Set(records.map(({ client }) => client));
  for (const end = now() + changedMsMax; now() < end; await delay(50)) {
    const first = new Map();
    for (const { client, at, durationMs, by } of records) {
      if (by === to && at > begun && !first.has(client)) first.set(client, at + durationMs - begun);
    }
    if (first.size === addresses.size) return Math.max(...first.values());
  }
  throw new Error(`${to} does not answer all clients within ${changedMsMax} ms`);
}
