import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { revokeMembers, toRevoke } from '../platform/authority-change.ts';
import { issueMember, makeAuthority, readAuthority, unlockAuthority } from '../platform/certificates.ts';
import { newKeyring } from '../platform/keyring.ts';
import type { LabNode, LabPlan, LabRouter } from './plan.ts';

/** Where a replica's things are. */
export interface ReplicaFiles {
  readonly directory: string;
  readonly config: string;
  readonly socket: string;
  readonly sdkSocket: string;
  /** What the agent remembers. */
  readonly state: string;
  readonly agentLog: string;
  readonly serverLog: string;
}

export function replicaFiles(labDirectory: string, replica: string): ReplicaFiles {
  const directory = join(labDirectory, replica);
  const file = (name: string): string => join(directory, name);
  return {
    directory,
    config: file('agent.yaml'),
    socket: file('agent.sock'),
    sdkSocket: file('sdk.sock'),
    state: file('state'),
    agentLog: file('agent.log'),
    serverLog: file('server.log'),
  };
}

/** The one policy file that all agents of a lab watch. */
export function policyPath(labDirectory: string): string {
  return join(labDirectory, 'policy.yaml');
}

/** What the routers do with joins. */
export interface JoinRules {
  /** Everybody may join, with no key at all. */
  readonly arePublic: boolean;
  /** They are heard from the clients' link too. */
  readonly fromClients: boolean;
}

/** What the replicas serve, such as "80/tcp", and which of it their agents check. */
export interface Served {
  readonly ports: readonly string[];
  readonly checked: readonly string[];
  /** Agents and routers have certificates, so that joins are signed and connections can be moved. */
  readonly certified: boolean;
  readonly joins: JoinRules;
  /** Null where UDP follows the slot. */
  readonly udpIdle: string | null;
}

/** A dead server is noticed within half a second. */
const checkTimes = { intervalMs: 200, timeoutMs: 500, rise: 1, fall: 2 } as const;

/** A keyring and a policy for all, a directory and a configuration for each. */
export async function writeReplicaFiles(
  labDirectory: string,
  plan: LabPlan,
  policy: string,
  served: Served,
): Promise<void> {
  newKeyring(join(labDirectory, 'keyring.json'));
  writeFileSync(policyPath(labDirectory), policy, { mode: 0o600 });
  for (const replica of plan.replicas) {
    const { directory, config } = replicaFiles(labDirectory, replica.name);
    mkdirSync(directory, { mode: 0o700 });
    writeFileSync(config, stringify(agentYaml(plan, replica, served)), { mode: 0o600 });
  }
  for (const router of plan.routers) writeRouterFile(labDirectory, plan, router, served);
  if (served.certified) await writeCertificates(join(labDirectory, certificates), plan);
}

const certificates = 'certificates';
const passphraseFile = 'passphrase';

/** Of an authority whose passphrase is kept beside it, for whoever revokes a member of the lab. */
async function writeCertificates(directory: string, plan: LabPlan): Promise<void> {
  const passphrase = randomBytes(16).toString('hex');
  await makeAuthority(directory, clusterOf(plan), passphrase);
  writeFileSync(join(directory, passphraseFile), `${passphrase}\n`, { mode: 0o600 });
  const authority = readAuthority(directory);
  const key = unlockAuthority(authority, passphrase);
  await Promise.all(
    [...plan.replicas, ...plan.routers].map(({ name }) =>
      issueMember(authority, key, { replica: name, days: 30, out: directory }),
    ),
  );
}

/** Puts the certificates of a replica on the list of the lab's authority, which agents and routers follow. */
export function revokeReplica(labDirectory: string, replica: string): void {
  const authority = readAuthority(join(labDirectory, certificates));
  const passphrase = readFileSync(join(authority.directory, passphraseFile), 'utf8').trim();
  revokeMembers(authority, passphrase, toRevoke(authority, [replica]));
}

/** Where the key of a member of the lab is, and its certificate. */
export function memberFiles(
  labDirectory: string,
  member: string,
): { readonly certificate: string; readonly key: string } {
  const file = (each: string): string => join(labDirectory, certificates, each);
  return { certificate: file(`${member}.crt`), key: file(`${member}.key`) };
}

function clusterOf({ name }: LabPlan): string {
  return `lab-${name}`;
}

function agentYaml(
  plan: LabPlan,
  replica: LabNode,
  { ports, checked, certified, udpIdle }: Served,
): Readonly<Record<string, unknown>> {
  const checkedPorts = checked.flatMap((port) => (port.endsWith('/tcp') ? [Number.parseInt(port, 10)] : []));
  return {
    cluster: clusterOf(plan),
    node: replica.name,
    interface: plan.onLoopback ? 'lo' : 'eth0',
    delivery: plan.delivery,
    service: {
      ...{ name: 'web', ports, group: plan.service.group },
      ...(plan.delivery === 'group' ? {} : { address: plan.service.address }),
      ...(udpIdle === null ? {} : { udpIdle }),
    },
    control: controlOf(plan),
    ...(checkedPorts.length > 0 ? { health: checkedPorts.map((port) => ({ kind: 'tcp', port, ...checkTimes })) } : {}),
    ...(certified ? { certificates: certificatesOf(replica) } : {}),
    sdk: { socket: 'sdk.sock' },
    stateDir: 'state',
    socket: 'agent.sock',
    policy: '../policy.yaml',
    ...(plan.routers.length > 0 ? { routers: routersOf(plan) } : {}),
  };
}

function controlOf({ control, replicas }: LabPlan): Readonly<Record<string, unknown>> {
  const peers = Object.fromEntries(replicas.map(({ name, address }) => [name, address]));
  return { ...control, peers, keyring: '../keyring.json' };
}

function routersOf({ routers }: LabPlan): Readonly<Record<string, string>> {
  return Object.fromEntries(routers.map(({ name, address }) => [name, address]));
}

function certificatesOf({ name }: LabNode): Readonly<Record<string, string>> {
  const file = (each: string): string => `../${certificates}/${each}`;
  return {
    ca: file('ca.crt'),
    certificate: file(`${name}.crt`),
    key: file(`${name}.key`),
    revoked: file('ca.crl'),
  };
}

/** Where a router's things are. */
export interface RouterFiles {
  readonly directory: string;
  readonly config: string;
  readonly socket: string;
  readonly log: string;
}

export function routerFiles(labDirectory: string, router: string): RouterFiles {
  const directory = join(labDirectory, router);
  const file = (name: string): string => join(directory, name);
  return { directory, config: file('router.yaml'), socket: file('router.sock'), log: file('router.log') };
}

/** Joins count when a certificate of the lab's authority has signed them, or always. */
function writeRouterFile(labDirectory: string, plan: LabPlan, router: LabRouter, served: Served): void {
  const { ports, udpIdle, certified, joins } = served;
  const { directory, config } = routerFiles(labDirectory, router.name);
  const isGroup = plan.delivery === 'group';
  const { address, group } = plan.service;
  const service = { name: 'web', ...(isGroup ? {} : { address }), ports, group };
  const content = {
    node: router.name,
    links: joins.fromClients ? ['eth0', 'eth1'] : ['eth0'],
    ...(isGroup ? { clients: ['eth1'] } : {}),
    services: [
      {
        cluster: clusterOf(plan),
        ...(isGroup ? { delivery: plan.delivery } : {}),
        service: { ...service, ...(udpIdle === null ? {} : { udpIdle }) },
        access: joins.arePublic
          ? { kind: 'public' }
          : { kind: 'authority', ca: `../${certificates}/ca.crt`, revoked: `../${certificates}/ca.crl` },
        control: controlOf(plan),
        routers: routersOf(plan),
        ...(certified ? { certificates: certificatesOf(router) } : {}),
      },
    ],
    stateDir: 'state',
    socket: 'router.sock',
  };
  mkdirSync(directory, { mode: 0o700 });
  writeFileSync(config, stringify(content), { mode: 0o600 });
}
