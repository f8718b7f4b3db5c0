import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { addressOf, type IpAddress, isMulticast, isUnicast, parseIp } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { type MacAddress, multicastMac } from '../base/mac.ts';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { firstIssue } from '../base/schema-issue.ts';
import { readYaml } from '../base/yaml.ts';
import type { Port, ServiceEntry } from '../dataplane/forwarding-table.ts';
import { namePattern, nameRule } from '../identity/member-name.ts';
import { type MemberFiles, readMember } from '../platform/certificates.ts';
import { partitionOf } from '../space/partition.ts';
import type { ScheduledCheck } from './health.ts';

/** Of clusters, replicas, routers and services. */
export const nameSchema = z.string().regex(namePattern, nameRule);
const name = nameSchema;

const ipv4 = z
  .string()
  .refine((text) => !text.includes(':'), { error: 'an IPv4 address: IPv6 is not built yet', abort: true })
  .refine((text) => parseIp(text).ok, { error: 'an IPv4 address', abort: true });
export const unicastSchema = ipv4.refine(
  (text) => isUnicast(addressOf(text)),
  'a unicast address, 1.0.0.0 to 223.255.255.255',
);
const group = ipv4.refine((text) => isMulticast(addressOf(text)), 'a multicast address, 224.0.0.0 to 239.255.255.255');

const port = z
  .string()
  .regex(/^[1-9]\d{0,4}\/(tcp|udp)$/, 'PORT/tcp or PORT/udp')
  .refine((text) => Number.parseInt(text, 10) <= 65_535, 'a port of 1 to 65535');

/** A time of 1 s to an hour. */
const seconds = z
  .string('a time such as "30s"')
  .regex(/^([1-9]\d{0,3})s$/, 'seconds such as "30s"')
  .refine((text) => Number.parseInt(text, 10) <= 3600, 'at most 3600s');

const status = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/;

/** Of every kind of health check. */
const healthCheck = {
  port: z.number().int().min(1).max(65_535).describe('TCP port asked; without `address` one of `service.ports`.'),
  address: unicastSchema
    .optional()
    .describe(
      'Address of this host asked; by default the service address itself, which reaches a server bound to it or to any address.',
    ),
  intervalMs: z.number().int().min(50).max(60_000).default(500).describe('From one check to the next.'),
  timeoutMs: z
    .number()
    .int()
    .min(10)
    .max(60_000)
    .default(1000)
    .describe('A whole answer that takes longer is a failure.'),
  rise: z.number().int().min(1).max(100).default(2).describe('Good answers in a row after which the server is up.'),
  fall: z.number().int().min(1).max(100).default(3).describe('Failures in a row after which it is down.'),
};

const tcpCheck = z
  .strictObject({ kind: z.literal('tcp').describe('Good is a connection that is accepted.'), ...healthCheck })
  .describe('A TCP connection, closed at once.');

const httpCheck = z
  .strictObject({
    kind: z.literal('http').describe('Good is an answer with an expected status, whole or its first 64 KiB.'),
    ...healthCheck,
    path: z
      .string()
      .max(1024)
      .regex(/^\/[!-~]*$/, 'a path that begins with "/", without spaces')
      .default('/')
      .describe('What is asked for.'),
    host: z
      .string()
      .max(255)
      .regex(/^[a-zA-Z0-9._:[\]-]+$/, 'a host name or address, with a port or without')
      .optional()
      .describe('Header `Host`; by default the address asked.'),
    expect: z
      .string('text such as "200-399" or "204"')
      .regex(status, 'a status or a range of them, such as "200-399"')
      .refine((text) => rangeOf(text)[0] <= rangeOf(text)[1], 'a range from low to high')
      .default('200-399')
      .describe('Status, or range of them, of a good answer. Redirects are not followed.'),
  })
  .describe('A GET request over HTTP/1.1, on a connection of its own.');

/** What clients reach: of a replica, and of a router that sends packets to one. */
export const serviceSchema = z
  .strictObject({
    name: name.describe('Name of the service; also names the kernel table.'),
    address: unicastSchema
      .optional()
      .describe(
        'Service address, what clients connect to. The agent puts it on `lo`. Only `group` delivery has none: there it is the group that clients send to.',
      ),
    ports: z
      .array(port)
      .min(1)
      .max(64)
      .describe('What is served, such as `80/tcp`; every other port of the address drops.'),
    group: group.describe(
      'Multicast group of the replicas. In delivery `segment` the service address resolves to its link address; in delivery `router`, and `group` with `routers`, they join it, and routers hear for which slots.',
    ),
    partition: ipv4
      .default('0.0.0.255')
      .describe('Bits of a client address that make its slot, at most 16, the same on every replica.'),
    udpIdle: seconds
      .optional()
      .describe(
        'UDP flows stay with their replica while their slot moves, until nothing was heard of them for this long, such as `30s`; the same on every replica. Without it they follow the slot.',
      ),
  })
  .describe('What clients reach.');

export const controlSchema = z
  .strictObject({
    group: group.describe('Multicast group on which the agents talk.'),
    port: z.number().int().min(1).max(65_535).describe('UDP port of the control channel.'),
    peers: z
      .record(name, unicastSchema)
      .describe('Address of every replica by name, this one included: for when multicast does not get through.'),
    keyring: z.string().min(1).describe('File with the keys of the control channel, made by `manycast keyring new`.'),
    signatures: z
      .enum(['required', 'accepted'])
      .default('required')
      .describe(
        'With `certificates`, whether every message must be signed by the replica it speaks for; `accepted` hears unsigned ones too, while a cluster is being changed over.',
      ),
  })
  .describe('How the agents talk.');

export const routersSchema = z
  .record(nameSchema, unicastSchema)
  .default({})
  .describe(
    'Address on the control channel of every router that sends packets to one replica each, by name, for delivery `router` or `group`: a move waits until all of them follow. They hear joins, which are signed where there are `certificates`; without, only those of public groups count them.',
  );

export const certificatesSchema = z
  .strictObject({
    ca: z
      .string()
      .min(1)
      .describe("File with the certificate of the cluster's authority, made by `manycast keys init`."),
    certificate: z.string().min(1).describe("File with this replica's own, made by `manycast keys issue`."),
    key: z.string().min(1).describe('File with the private key of it, which its owner alone may read.'),
    revoked: z
      .string()
      .min(1)
      .optional()
      .describe(
        'File with the certificates that are not believed any more: `ca.crl` of the authority, as `manycast keys revoke` writes it. A saved file counts at once, also for links that are open.',
      ),
  })
  .optional()
  .describe(
    'With what this replica proves its name to the others: it signs its control messages, and hears only what is signed; and its joins: without a key they count in a public group alone.',
  );

/** `agent.yaml`, field by field: check, default, documentation. */
export const agentSchema = z.strictObject({
  cluster: name.describe('Name of the cluster; agents of other clusters are not heard.'),
  node: name.describe('Name of this replica, unique in the cluster.'),
  interface: z
    .string()
    .min(1)
    .max(15)
    .describe('Network device that carries the service: the bond or VLAN device, not its parts.'),
  service: serviceSchema,
  control: controlSchema,
  routers: routersSchema,
  certificates: certificatesSchema,
  sdk: z
    .strictObject({
      socket: z
        .string()
        .min(1)
        .describe(
          "Unix socket on which applications with the SDK are heard, for the agent's user and group; they look for it in MANYCAST_SDK_SOCKET.",
        ),
    })
    .optional()
    .describe(
      'For connections that are moved to another replica, or ended at a convenient point; moving needs `certificates`, /dev/net/tun and CAP_NET_ADMIN too.',
    ),
  stateDir: z.string().min(1).describe('Directory for what must survive a restart.'),
  socket: z
    .string()
    .min(1)
    .describe(
      'Unix socket on which the commands of `manycast` ask: `status`, `policy`, `drain`, `undrain`, `move`, `cluster`.',
    ),
  policy: z.string().min(1).describe('Policy file; saving it triggers a reallocation.'),
  delivery: z
    .enum(['segment', 'router', 'group'])
    .default('segment')
    .describe(
      'How packets reach the replicas, the same on all. `segment`: every replica on the segment gets every frame for the service address. `router`: an edge router sends each packet to the owner of its slot. `group`: clients send datagrams to the multicast group itself, and applications with the SDK take their share; needs no privilege without `routers`, and CAP_NET_RAW with them.',
    ),
  health: z
    .array(z.discriminatedUnion('kind', [tcpCheck, httpCheck]))
    .max(8)
    .default([])
    .describe(
      'Checks of the local server. It counts as healthy while all of them are up; each begins down, so that a server gets no share before it answers. Without checks it is always healthy.',
    ),
});

type Parsed = z.output<typeof agentSchema>;

/** `agent.yaml` as read: paths absolute, values checked. What clients reach without a service address is the group. */
export type AgentConfig = Parsed & { readonly service: { readonly address: string } };

/** The part of it that the control channel works with. */
export type MemberConfig = Pick<
  AgentConfig,
  'cluster' | 'node' | 'service' | 'control' | 'routers' | 'certificates' | 'delivery'
>;

/** Everybody who may say something on the control channel. */
export function speakersOf({ control, routers }: MemberConfig): readonly string[] {
  return [...Object.keys(control.peers), ...Object.keys(routers)];
}

/** Reads and checks the file; relative paths in it are relative to it. Throws an OperatingError of one clear line. */
export function readAgentConfig(path: string): AgentConfig {
  const data = readConfigFile(path, agentSchema);
  const { service } = data;
  const config = { ...data, service: { ...service, address: service.address ?? service.group } };
  const complaint =
    serviceAddressProblem(data.delivery, service.address) ?? unaddressedCheck(data) ?? disagreement(config);
  if (complaint) throw new OperatingError('config', `${path}: ${complaint}`);
  const absolute = (each: string) => resolve(dirname(path), each);
  const { certificates } = config;
  return {
    ...config,
    ...(certificates && { certificates: absolutePaths(certificates, absolute) }),
    ...(config.sdk && { sdk: { socket: absolute(config.sdk.socket) } }),
    stateDir: absolute(config.stateDir),
    socket: absolute(config.socket),
    policy: absolute(config.policy),
    control: { ...config.control, keyring: absolute(config.control.keyring) },
  };
}

/**
 * The files of `certificates` as PEM; null when there are none. Throws an OperatingError of one clear line unless they belong together, are in
 * force, and name this node of this cluster.
 */
export function readCertificates({ certificates, cluster, node }: MemberConfig): MemberFiles | null {
  return certificates ? readMember(certificates, { cluster, replica: node }) : null;
}

/** The part of the configuration that the data plane works with. */
export function serviceOf(config: AgentConfig, ownMac: MacAddress): ServiceEntry {
  const { service } = config;
  const partition = partitionOf(addressOf(service.partition));
  return {
    name: service.name,
    address: addressOf(service.address),
    ports: service.ports.map(portOf),
    partition: defined(partition.ok ? partition.value : null, 'a checked partition'),
    device: config.interface,
    ownMac,
    groupMac: config.delivery === 'router' ? null : multicastMac(addressOf(service.group)),
    ...(config.delivery === 'router' ? { delivery: config.delivery } : {}),
    ...(service.udpIdle === undefined ? {} : { udpIdleMs: Number.parseInt(service.udpIdle, 10) * 1000 }),
  };
}

/** The checks of the local server, with everything said that the file may leave open. */
export function healthChecksOf({ health, service }: AgentConfig): ScheduledCheck[] {
  return health.map((check) => {
    const address = check.address ?? service.address;
    const name = `${check.kind} ${address}:${check.port}`;
    if (check.kind === 'tcp') return { ...check, name, address };
    const { path, host = address, expect } = check;
    return { ...check, name: `${name}${path}`, address, host, expect: rangeOf(expect) };
  });
}

/** The group whose link address the service address resolves to; null where it is routed. */
export function groupOf({ service, delivery }: AgentConfig): IpAddress | null {
  return delivery === 'router' ? null : addressOf(service.group);
}

export function portOf(text: string): Port {
  const [number, protocol] = text.split('/');
  return { protocol: protocol === 'udp' ? 'udp' : 'tcp', port: Number(number) };
}

/** Of a status or range of them that the schema has checked. */
function rangeOf(text: string): readonly [number, number] {
  const [, lowest, highest = lowest] = status.exec(text) ?? [];
  return [Number(lowest), Number(highest)];
}

/** Only the group is reached without one, and has no other. */
export function serviceAddressProblem(delivery: string, address: string | undefined): string | null {
  const isGroup = delivery === 'group';
  if (isGroup === (address === undefined)) return null;
  return isGroup
    ? 'service.address: cannot be, in group delivery clients send to the group'
    : `service.address: missing, ${delivery} delivery needs one`;
}

/** A check of the server asks at the service address, where nothing else is said. */
function unaddressedCheck({ delivery, health }: Parsed): string | null {
  if (delivery !== 'group') return null;
  const unaddressed = health.findIndex(({ address }) => address === undefined);
  return unaddressed < 0 ? null : `health[${unaddressed}].address: missing, as the service has no address`;
}

/** What no single field shows: the first contradiction between fields, as one line. */
function disagreement(config: AgentConfig): string | null {
  const { node, control, service } = config;
  const partition = partitionOf(addressOf(service.partition));
  if (!partition.ok) return `service.partition: ${partition.reason}`;
  if (!Object.hasOwn(control.peers, node)) return `control.peers: "${node}", this node, is missing`;
  const hasRouters = Object.keys(config.routers).length > 0;
  if (config.delivery === 'segment' && hasRouters) return 'routers: are for delivery router or group';
  if (control.group === service.group) return 'control.group: must differ from service.group';
  const both = Object.keys(control.peers).find((name) => Object.hasOwn(config.routers, name));
  if (both !== undefined) return `routers: "${both}" is also a replica in control.peers`;
  return (
    sharedAddress(config.service.address, control.peers, config.routers) ?? groupProblem(config) ?? strayPort(config)
  );
}

/** Every machine has an address of its own, and none the service's: the first that does not, as one line; null when there is none. */
export function sharedAddress(
  serviceAddress: string,
  peers: Readonly<Record<string, string>>,
  routers: Readonly<Record<string, string>>,
): string | null {
  const seen = new Map([[serviceAddress, 'service.address']]);
  for (const [field, addresses] of Object.entries({ 'control.peers': peers, routers })) {
    for (const [name, address] of Object.entries(addresses)) {
      const other = seen.get(address);
      if (other !== undefined) return `${field}.${name}: ${address} is also that of ${other}`;
      seen.set(address, `${field}.${name}`);
    }
  }
  return null;
}

/** Sockets of applications are all that takes datagrams of a group. */
function groupProblem({ delivery, sdk, service, routers }: AgentConfig): string | null {
  if (delivery !== 'group') return null;
  if (!sdk) return 'sdk: missing, group delivery needs it';
  return groupServiceProblem(service, Object.keys(routers).length > 0);
}

/** What a service whose clients send to a group cannot have, as one line. */
export function groupServiceProblem(
  { ports, udpIdle }: { readonly ports: readonly string[]; readonly udpIdle?: string | undefined },
  isRouted: boolean,
): string | null {
  if (udpIdle !== undefined && isRouted)
    return 'service.udpIdle: cannot be, a router sends every datagram of a group to the owner of its slot';
  const tcp = ports.findIndex((each) => each.endsWith('/tcp'));
  return tcp < 0 ? null : `service.ports[${tcp}]: ${ports[tcp]} cannot be, group delivery carries UDP alone`;
}

/** Clients reach no other port of the service address: a check of one says nothing about the service, unless it was meant. */
function strayPort({ health, service }: AgentConfig): string | null {
  const served = service.ports.map(portOf).flatMap(({ protocol, port }) => (protocol === 'tcp' ? [port] : []));
  for (const [i, { address, port }] of health.entries()) {
    if (address !== undefined || served.includes(port)) continue;
    return `health[${i}].port: ${port} is no TCP port of service.ports (${served.join(', ') || 'none'}), and needs an address`;
  }
  return null;
}

/** A YAML file as its schema reads it. Throws an OperatingError of one clear line. */
export function readConfigFile<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> {
  const input = readYaml(textOf(path));
  if (!input.ok) throw new OperatingError('config', `${path}: ${input.reason}`);
  const parsed = schema.safeParse(input.value);
  if (parsed.success) return parsed.data;
  throw new OperatingError('config', `${path}: ${firstIssue(schema, parsed.error, input.value)}`);
}

/** The same fields, each path made absolute. */
export function absolutePaths<Paths extends object>(paths: Paths, absolute: (path: string) => string): Paths {
  return Object.fromEntries(Object.entries(paths).map(([field, path]) => [field, absolute(path)])) as Paths;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new OperatingError('config', `${path}: ${messageOf(cause)}`, { cause });
  }
}
