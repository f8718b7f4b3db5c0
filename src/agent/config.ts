import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { type IpAddress, isMulticast, parseIp } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { multicastMac } from '../base/mac.ts';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { firstIssue } from '../base/schema-issue.ts';
import { readYaml } from '../base/yaml.ts';
import type { Port, ServiceEntry } from '../dataplane/forwarding-table.ts';
import { partitionOf } from '../space/partition.ts';

const name = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, 'lower-case letters, digits and "-", at most 32');

const ipv4 = z
  .string()
  .refine((text) => !text.includes(':'), { error: 'an IPv4 address: IPv6 is not built yet', abort: true })
  .refine((text) => parseIp(text).ok, { error: 'an IPv4 address', abort: true });
const unicast = ipv4.refine((text) => !isMulticast(addressOf(text)), 'a unicast address');
const group = ipv4.refine((text) => isMulticast(addressOf(text)), 'a multicast address, 224.0.0.0 to 239.255.255.255');

const port = z
  .string()
  .regex(/^[1-9]\d{0,4}\/(tcp|udp)$/, 'PORT/tcp or PORT/udp')
  .refine((text) => Number.parseInt(text, 10) <= 65_535, 'a port of 1 to 65535');

/** `agent.yaml`, field by field: check, default, documentation. */
export const agentSchema = z.strictObject({
  cluster: name.describe('Name of the cluster; agents of other clusters are not heard.'),
  node: name.describe('Name of this replica, unique in the cluster.'),
  interface: z
    .string()
    .min(1)
    .max(15)
    .describe('Network device that carries the service: the bond or VLAN device, not its parts.'),
  service: z
    .strictObject({
      name: name.describe('Name of the service; also names the kernel table.'),
      address: unicast.describe('Service address, what clients connect to. The agent puts it on `lo`.'),
      ports: z
        .array(port)
        .min(1)
        .max(64)
        .describe('What is served, such as `80/tcp`; every other port of the address drops.'),
      group: group.describe('Multicast group whose link address the service address resolves to.'),
      partition: ipv4
        .default('0.0.0.255')
        .describe('Bits of a client address that make its slot, at most 16, the same on every replica.'),
    })
    .describe('What clients reach.'),
  control: z
    .strictObject({
      group: group.describe('Multicast group on which the agents talk.'),
      port: z.number().int().min(1).max(65_535).describe('UDP port of the control channel.'),
      peers: z
        .record(name, unicast)
        .describe('Address of every replica by name, this one included: for when multicast does not get through.'),
      keyring: z.string().min(1).describe('File with the keys of the control channel, made by `manycast keyring new`.'),
    })
    .describe('How the agents talk.'),
  voters: z
    .array(name)
    .min(1)
    .max(7)
    .describe('Replicas of which a majority must hear each other before anybody serves.'),
  stateDir: z.string().min(1).describe('Directory for what must survive a restart.'),
  socket: z.string().min(1).describe('Unix socket on which `manycast status` and `policy` ask.'),
  policy: z.string().min(1).describe('Policy file; saving it triggers a reallocation.'),
  delivery: z
    .literal('segment')
    .default('segment')
    .describe('How packets reach the replicas: every replica on the segment gets every frame.'),
});

/** `agent.yaml` as read: paths absolute, values checked. */
export type AgentConfig = z.output<typeof agentSchema>;

/** Reads and checks the file; relative paths in it are relative to it. Throws an OperatingError of one clear line. */
export function readAgentConfig(path: string): AgentConfig {
  const input = yamlOf(path);
  const parsed = agentSchema.safeParse(input);
  if (!parsed.success) throw new OperatingError('config', `${path}: ${firstIssue(agentSchema, parsed.error, input)}`);
  const config = parsed.data;
  const complaint = disagreement(config);
  if (complaint) throw new OperatingError('config', `${path}: ${complaint}`);
  const absolute = (each: string) => resolve(dirname(path), each);
  return {
    ...config,
    stateDir: absolute(config.stateDir),
    socket: absolute(config.socket),
    policy: absolute(config.policy),
    control: { ...config.control, keyring: absolute(config.control.keyring) },
  };
}

/** The part of the configuration that the data plane works with. */
export function serviceOf(config: AgentConfig): ServiceEntry {
  const { service } = config;
  const partition = partitionOf(addressOf(service.partition));
  return {
    name: service.name,
    address: addressOf(service.address),
    ports: service.ports.map(portOf),
    partition: defined(partition.ok ? partition.value : null, 'a checked partition'),
    device: config.interface,
    groupMac: multicastMac(addressOf(service.group)),
  };
}

/** An address that the schema has checked. */
export function addressOf(text: string): IpAddress {
  const parsed = parseIp(text);
  return defined(parsed.ok ? parsed.value : null, 'a checked address');
}

function portOf(text: string): Port {
  const [number, protocol] = text.split('/');
  return { protocol: protocol === 'udp' ? 'udp' : 'tcp', port: Number(number) };
}

/** What no single field shows: the first contradiction between fields, as one line. */
function disagreement(config: AgentConfig): string | null {
  const { node, voters, control, service } = config;
  const partition = partitionOf(addressOf(service.partition));
  if (!partition.ok) return `service.partition: ${partition.reason}`;
  if (!control.peers[node]) return `control.peers: "${node}", this node, is missing`;
  const unknown = voters.find((voter) => !control.peers[voter]);
  if (unknown)
    return `voters: "${unknown}" is not in control.peers, allowed are ${Object.keys(control.peers).join(', ')}`;
  if (new Set(voters).size < voters.length) return 'voters: a name stands twice';
  if (control.group === service.group) return 'control.group: must differ from service.group';
  if (Object.values(control.peers).includes(service.address))
    return 'service.address: is also a replica in control.peers';
  return null;
}

function yamlOf(path: string): unknown {
  const input = readYaml(textOf(path));
  if (!input.ok) throw new OperatingError('config', `${path}: ${input.reason}`);
  return input.value;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new OperatingError('config', `${path}: ${messageOf(cause)}`, { cause });
  }
}
