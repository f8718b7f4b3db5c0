import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { issueMember, makeAuthority, readAuthority, unlockAuthority } from '../platform/certificates.ts';
import { newKeyring } from '../platform/keyring.ts';
import type { LabNode, LabPlan } from './plan.ts';

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

/** What the replicas serve, such as "80/tcp", and which of it their agents check. */
export interface Served {
  readonly ports: readonly string[];
  readonly checked: readonly string[];
  /** Agents have certificates, so that connections can be moved. */
  readonly certified: boolean;
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
  if (served.certified) await writeCertificates(join(labDirectory, certificates), plan);
}

const certificates = 'certificates';

/** Of an authority whose passphrase nobody keeps. */
async function writeCertificates(directory: string, plan: LabPlan): Promise<void> {
  const passphrase = randomBytes(16).toString('hex');
  await makeAuthority(directory, clusterOf(plan), passphrase);
  const authority = readAuthority(directory);
  const key = unlockAuthority(authority, passphrase);
  await Promise.all(
    plan.replicas.map(({ name }) => issueMember(authority, key, { replica: name, days: 30, out: directory })),
  );
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
    interface: 'eth0',
    service: {
      ...{ name: 'web', address: plan.service.address, ports },
      ...(plan.router ? {} : { group: plan.service.group }),
      ...(udpIdle === null ? {} : { udpIdle }),
    },
    control: {
      ...plan.control,
      peers: Object.fromEntries(plan.replicas.map(({ name, address }) => [name, address])),
      keyring: '../keyring.json',
    },
    ...(checkedPorts.length > 0 ? { health: checkedPorts.map((port) => ({ kind: 'tcp', port, ...checkTimes })) } : {}),
    ...(certified
      ? {
          certificates: {
            ca: `../${certificates}/ca.crt`,
            certificate: `../${certificates}/${replica.name}.crt`,
            key: `../${certificates}/${replica.name}.key`,
          },
        }
      : {}),
    sdk: { socket: 'sdk.sock' },
    stateDir: 'state',
    socket: 'agent.sock',
    policy: '../policy.yaml',
    ...(plan.router ? { delivery: 'router' } : {}),
  };
}
