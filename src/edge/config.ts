import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import {
  absolutePaths,
  addressOf,
  certificatesSchema,
  controlSchema,
  nameSchema,
  readConfigFile,
  routersSchema,
  serviceSchema,
  unicastSchema,
} from '../agent/config.ts';
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
          .array(z.string().regex(/^[0-9a-fA-F:]{64,95}$/, 'a SHA-256 fingerprint, 64 hexadecimal digits'))
          .max(4)
          .default([])
          .describe(
            'SHA-256 of the authorities that are believed, as `manycast keys show` prints them. Needed where the answer is not signed (DNSSEC) and verified by a server in `registry`.',
          ),
      })
      .describe('A group of which DNS says whether it is public, and whose key is there.'),
  ])
  .describe('Who may join the group. What is not public is private.');

const routedService = z.strictObject({
  cluster: nameSchema.describe('Name of the cluster that serves it.'),
  service: serviceSchema.extend({ address: unicastSchema.describe('Service address, what clients connect to.') }),
  access,
  control: controlSchema.optional(),
  routers: routersSchema,
  certificates: certificatesSchema,
});

/** `router.yaml`, field by field: check, default, documentation. */
export const routerSchema = z.strictObject({
  node: nameSchema.describe('Name of this router.'),
  links: z
    .array(z.string().min(1).max(15))
    .min(1)
    .max(64)
    .describe('Network devices that replicas are behind; joins are heard on these alone.'),
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
export type RouterConfig = z.output<typeof routerSchema>;
export type RoutedService = RouterConfig['services'][number];

/** Reads and checks the file; relative paths in it are relative to it. Throws an OperatingError of one clear line. */
export function readRouterConfig(path: string): RouterConfig {
  const config = readConfigFile(path, routerSchema);
  const complaint = disagreement(config);
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
    if (control && !Object.hasOwn(routers, node)) return `services[${i}].routers: "${node}", this router, is missing`;
  }
  return null;
}
