import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import {
  absolutePaths,
  certificatesSchema,
  controlSchema,
  groupServiceProblem,
  nameSchema,
  readConfigFile,
  routersSchema,
  serviceAddressProblem,
  serviceSchema,
  sharedAddress,
  unicastSchema,
} from '../agent/config.ts';
import { addressOf } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import { partitionOf } from '../space/partition.ts';

const file = z.string().min(1);

const access = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('public').describe('Everybody may join, with no key at all.') }),
    z
      .strictObject({
        kind: z.literal('authority').describe('Members of the cluster may join: their certificates prove it.'),
        ca: file.describe("File with the certificate of the cluster's authority."),
        revoked: file.optional().describe('File with the certificates that are not believed any more.'),
      })
      .describe('A private group whose key this file names.'),
    z
      .strictObject({
        kind: z
          .literal('registry')
          .describe('What the registry in DNS says of the group, by the reverse name of its address.'),
        fingerprints: z
          .array(
            z.string().regex(/^[0-9a-fA-F]{2}(:?[0-9a-fA-F]{2}){31}$/, 'a SHA-256 fingerprint, 64 hexadecimal digits'),
          )
          .max(4)
          .default([])
          .describe(
            'SHA-256 of the authorities that are believed, as `manycast keys show` prints them. Needed where the answer is not signed (DNSSEC) and verified by a server in `registry`.',
          ),
      })
      .describe('A group of which DNS says whether it is public, and whose key is there.'),
  ])
  .describe(
    'Who may join the group; what is not public is private. `{ kind: public }`: everybody, with no key. `{ kind: authority, ca: FILE, revoked: FILE }`: members that the authority of the cluster has certified, but those on its list `ca.crl`, which counts as soon as it is saved; without `revoked` nobody is refused for being revoked. `{ kind: registry, fingerprints: [SHA-256, …] }`: what DNS says of the group; fingerprints are needed where no server of `registry` verifies DNSSEC.',
  );

const routedService = z.strictObject({
  cluster: nameSchema.describe('Name of the cluster that serves it.'),
  delivery: z
    .enum(['router', 'group'])
    .default('router')
    .describe(
      'As on its replicas. `router`: clients reach the service address. `group`: clients behind `clients` send datagrams to the group itself.',
    ),
  service: serviceSchema.extend({
    address: unicastSchema
      .optional()
      .describe('Service address, what clients connect to. Only `group` delivery has none: there it is the group.'),
  }),
  access,
  control: controlSchema
    .optional()
    .describe(
      'How the agents talk, as on its replicas. Without it they do not hear what this router goes by, and moves wait where it is among their `routers`.',
    ),
  routers: routersSchema.describe('As on its replicas; with `control` this router is among them.'),
  certificates: certificatesSchema.describe(
    'With what this router proves its name to the replicas, which hear only what is signed where they have `certificates`.',
  ),
});

/** `router.yaml`, field by field: check, default, documentation. */
export const routerSchema = z.strictObject({
  node: nameSchema.describe('Name of this router.'),
  links: z
    .array(z.string().min(1).max(15))
    .min(1)
    .max(64)
    .describe('Network devices that replicas are behind; joins are heard on these alone.'),
  clients: z
    .array(z.string().min(1).max(15))
    .max(64)
    .default([])
    .describe(
      'Network devices that clients of groups are behind, none of `links`: datagrams to a group of a service in delivery `group` are taken from these alone.',
    ),
  services: z
    .array(routedService)
    .min(1)
    .max(64)
    .describe('The services whose packets this router sends to one replica each.'),
  registry: z
    .array(
      z.strictObject({
        address: unicastSchema.describe('Address of a DNS server.'),
        port: z.number().int().min(1).max(65_535).default(53).describe('Its port.'),
        validating: z
          .boolean()
          .default(false)
          .describe(
            'It verifies DNSSEC, and the way to it is safe, as it is on this machine: what it says is verified counts.',
          ),
      }),
    )
    .max(4)
    .default([])
    .describe('DNS servers that are asked about groups, one after the other until one answers.'),
  stateDir: file.describe('Directory for what must survive a restart.'),
  socket: file.describe('Unix socket on which `manycast router status` asks.'),
});

/** `router.yaml` as read: paths absolute, values checked. */
export type RouterConfig = Omit<Parsed, 'services'> & { readonly services: readonly RoutedService[] };
/** What clients reach without a service address is the group. */
export type RoutedService = ParsedService & { readonly service: { readonly address: string } };

type Parsed = z.output<typeof routerSchema>;
type ParsedService = Parsed['services'][number];

/** Reads and checks the file; relative paths in it are relative to it. Throws an OperatingError of one clear line. */
export function readRouterConfig(path: string): RouterConfig {
  const parsed = readConfigFile(path, routerSchema);
  const config = { ...parsed, services: parsed.services.map(withAddress) };
  const complaint = addressProblem(parsed) ?? disagreement(config) ?? clientsProblem(config);
  if (complaint) throw new OperatingError('config', `${path}: ${complaint}`);
  const absolute = (each: string): string => resolve(dirname(path), each);
  return {
    ...config,
    stateDir: absolute(config.stateDir),
    socket: absolute(config.socket),
    services: config.services.map((each) => withPaths(each, absolute)),
  };
}

function withPaths(each: RoutedService, absolute: (path: string) => string): RoutedService {
  const { access: joins, control, certificates } = each;
  const authority = joins.kind === 'authority' && {
    access: {
      ...joins,
      ca: absolute(joins.ca),
      ...(joins.revoked !== undefined && { revoked: absolute(joins.revoked) }),
    },
  };
  return {
    ...each,
    ...authority,
    ...(control && { control: { ...control, keyring: absolute(control.keyring) } }),
    ...(certificates && { certificates: absolutePaths(certificates, absolute) }),
  };
}

function withAddress({ service, ...rest }: ParsedService): RoutedService {
  return { ...rest, service: { ...service, address: service.address ?? service.group } };
}

/** Before what is reached is filled in. */
function addressProblem({ services }: Parsed): string | null {
  for (const [i, { delivery, service }] of services.entries()) {
    const problem = serviceAddressProblem(delivery, service.address);
    if (problem !== null) return `services[${i}].${problem}`;
  }
  return null;
}

/** What group delivery needs, and cannot have. */
function clientsProblem({ links, clients, services }: RouterConfig): string | null {
  const both = clients.find((device) => links.includes(device));
  if (both !== undefined) return `clients: "${both}" is also in links`;
  for (const [i, { delivery, service }] of services.entries()) {
    if (delivery !== 'group') continue;
    if (clients.length === 0) return `clients: missing, services[${i}] needs it`;
    const problem = groupServiceProblem(service, true);
    if (problem !== null) return `services[${i}].${problem}`;
  }
  return null;
}

/** What no single field shows: the first contradiction between fields, as one line. */
function disagreement({ node, services, registry }: RouterConfig): string | null {
  const seen = new Map<string, string>();
  for (const [i, { service, control, routers, access: joins }] of services.entries()) {
    if (joins.kind === 'registry' && registry.length === 0) return `registry: missing, services[${i}].access needs it`;
    const partition = partitionOf(addressOf(service.partition));
    if (!partition.ok) return `services[${i}].service.partition: ${partition.reason}`;
    for (const field of ['name', 'address', 'group'] as const) {
      const value = `${field} ${service[field]}`;
      const other = seen.get(value);
      if (other !== undefined) return `services[${i}].service.${field}: is also that of ${other}`;
      seen.set(value, `services[${i}]`);
    }
    const shared = sharedAddress(service.address, control?.peers ?? {}, routers);
    if (shared !== null) return `services[${i}].${shared}`;
    if (control?.group === service.group) return `services[${i}].control.group: must differ from service.group`;
    if (control && !Object.hasOwn(routers, node)) return `services[${i}].routers: "${node}", this router, is missing`;
  }
  return null;
}
