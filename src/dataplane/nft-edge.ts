import { formatIp } from '../base/address.ts';
import { maskedAddressOf } from '../space/partition.ts';
import { type EdgeService, hopKey, type NextHop } from './edge.ts';
import { fnv1a } from './fnv1a.ts';
import { groupLines } from './nft-edge-group.ts';
import { comparedPortsMax } from './nft-rows.ts';
import { icmpErrorTypes } from './packet.ts';

/** The mark of packets to a next hop, by `hopKey`. */
export type HopMarks = ReadonlyMap<string, number>;

/** Elements that a transaction adds, as for the rows of replicas. */
const elementsPerTransaction = 2048;
const protocolNumbers = { tcp: 6, udp: 17 } as const;

export function edgeTableName(service: Pick<EdgeService, 'name'>): string {
  return `mce_${service.name.replaceAll('-', '_')}`;
}

/** Name of an empty chain that tells a table made by these very rules for this very service from any other. */
export function edgeFingerprint(service: EdgeService): string {
  return `made_${fnv1a(lines(service).join('\n'))}`;
}

/** Commands that replace whatever stands under the service's name by the whole table. */
export function installEdge(service: EdgeService, marks: HopMarks): string[] {
  const name = edgeTableName(service);
  const install = [
    removeEdge(service),
    `table ip ${name} {`,
    `  chain ${edgeFingerprint(service)} { }`,
    ...lines(service).map((line) => `  ${line}`),
    '}',
  ].join('\n');
  const [first, ...rest] = changeEdge({ ...service, owners: new Map(), tags: new Map() }, service, marks);
  return [first ? `${install}\n${first}` : install, ...rest];
}

/**
 * Commands that turn the kernel from `from` to `to`, the same service with other owners or tags. What sends packets of a slot or flow somewhere else replaces its element within one
 * transaction, so that no packet finds none. Empty when nothing differs.
 */
export function changeEdge(from: EdgeService, to: EdgeService, marks: HopMarks): string[] {
  const name = edgeTableName(to);
  const isGroup = to.clientDevices !== undefined;
  const dataOf = (hop: NextHop): string => (isGroup ? formatIp(hop.address) : String(marks.get(hopKey(hop)) ?? 0));
  const changes = changesBetween(from, to, dataOf);
  const count = Math.ceil(changes.length / (elementsPerTransaction / 2));
  const hadTags = from.tags.size > 0;
  const hasTags = to.tags.size > 0;
  return Array.from({ length: count }, (_, i) => {
    const some = changes.slice((i * elementsPerTransaction) / 2, ((i + 1) * elementsPerTransaction) / 2);
    const gone = some.filter(({ had }) => had).flatMap(({ keys }) => keys);
    const come = some.flatMap(({ keys, has }) =>
      has ? keys.map(([map, key]): readonly [string, string] => [map, `${key} : ${dataOf(has)}`]) : [],
    );
    return [
      ...(i === 0 && hasTags && !hadTags ? tagRules.map((rule) => `add rule ip ${name} tagged ${rule}`) : []),
      ...elements('delete', name, gone),
      ...elements('add', name, come),
      ...(i === count - 1 && hadTags && !hasTags ? [`flush chain ip ${name} tagged`] : []),
    ].join('\n');
  });
}

/** Commands that remove the table, whether it is there or not. */
export function removeEdge(service: Pick<EdgeService, 'name'>): string {
  const name = edgeTableName(service);
  return `add table ip ${name}\ndelete table ip ${name}`;
}

/**
 * One look-up decides where a packet goes; the mark that it gives picks the route, and the kernel does all the rest of a hop: time to live, MTU, ICMP. A later fragment carries no ports: it follows
 * its slot. Errors that this router sends itself leave by the output hook.
 *
 * An ICMP error comes from a router on the way, whose address says nothing about the slot; but it quotes the header of the packet that it is about (RFC 792), which the service
 * sent to the client: by that it is looked up, as raw payload, for which there are maps with keys of that type. Quoted ports are where they are when the header has no options.
 */
function lines(edgeService: EdgeService): string[] {
  if (edgeService.clientDevices) return groupLines(edgeService);
  const { address, partition, ports } = edgeService;
  const service = formatIp(address);
  const mask = formatIp(partition.mask);
  const served = ports?.map(({ protocol, port }) => `${protocol} . ${port}`).join(', ');
  return [
    ...['forwarded', 'tagged', 'errors', 'dropped'].map((counter) => `counter ${counter} { }`),
    // Of known size: what may grow takes longer to look up.
    `map owners { type ipv4_addr : mark; size ${partition.slotCount}; }`,
    'map tags { type ipv4_addr . inet_proto . inet_service . inet_service : mark; }',
    `map error_owners { typeof ${quoted.client} : meta mark; }`,
    `map error_tags { typeof ${quotedFlow} : meta mark; }`,
    ...(served === undefined
      ? []
      : [`set ports { type inet_proto . inet_service; size ${ports?.length}; elements = { ${served} }; }`]),
    'chain closed { counter name dropped drop; }',
    'chain tagged { }',
    'chain error {',
    `  ${quoted.headerWords} == 5 meta mark set ${quotedFlow} map @error_tags counter name errors accept`,
    `  meta mark set ${quoted.client} & ${hex(partition.mask.value)} map @error_owners counter name errors accept`,
    '  goto closed',
    '}',
    'chain slot {',
    '  jump tagged',
    `  meta mark set ip saddr & ${mask} map @owners counter name forwarded accept`,
    '  goto closed',
    '}',
    'chain messages {',
    `  ${first} icmp type { ${Object.keys(icmpErrorTypes).join(', ')} } goto error`,
    '  goto slot',
    '}',
    'chain service {',
    // Most packets are of a port that is served.
    ...(ports ?? []).slice(0, comparedPortsMax).map(({ protocol, port }) => `  ${protocol} dport ${port} goto slot`),
    '  meta l4proto icmp goto messages',
    ...(served === undefined ? [] : [`  ${first} meta l4proto . th dport != @ports goto closed`]),
    '  goto slot',
    '}',
    `chain arrivals { type filter hook prerouting priority mangle; policy accept; ip daddr ${service} goto service; }`,
    `chain own { type route hook output priority mangle; policy accept; ip daddr ${service} goto service; }`,
  ];
}

const first = 'ip frag-off & 0x1fff == 0';

/** In its chain while there are tags: a look-up in an empty map takes as long as in a full one, a twentieth of what forwarding a packet takes. */
const tagRules = [
  // A flow that begins anew is no older one of the same ports: the owner of its slot takes it.
  `${first} tcp flags & (fin | syn | rst | ack) == syn return`,
  `${first} meta mark set ip saddr . meta l4proto . th sport . th dport map @tags counter name tagged accept`,
];

/** What an ICMP error quotes, in bits from the beginning of the ICMP header: 8 bytes of it, then the quoted one. The client is its destination. */
const quoted = {
  headerWords: '@th,68,4',
  protocol: '@th,136,8',
  client: '@th,192,32',
  servicePort: '@th,224,16',
  clientPort: '@th,240,16',
} as const;
const quotedFlow = [quoted.client, quoted.protocol, quoted.clientPort, quoted.servicePort].join(' . ');

/** A key of `tags` as raw numbers. */
function rawTagKey(key: string): string {
  const [client = '', protocol = '', clientPort = '', servicePort = ''] = key.split(' . ');
  const address = client.split('.').reduce((value, byte) => value * 256n + BigInt(byte), 0n);
  return [hex(address), protocolNumbers[protocol as keyof typeof protocolNumbers], clientPort, servicePort].join(' . ');
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

/** What differs at one slot or tag. */
interface Change {
  /** Maps, and the key in each. */
  readonly keys: readonly (readonly [string, string])[];
  readonly had: NextHop | undefined;
  readonly has: NextHop | undefined;
}

function changesBetween(from: EdgeService, to: EdgeService, dataOf: (hop: NextHop) => string): Change[] {
  const isSame = (a: NextHop | undefined, b: NextHop | undefined): boolean =>
    a === b || (a !== undefined && b !== undefined && dataOf(a) === dataOf(b));
  return [
    ...changed(from.owners, to.owners, isSame).map((slot) => {
      const masked = maskedAddressOf(to.partition, slot);
      const owners = ['owners', formatIp(masked)] as const;
      const keys: Change['keys'] = to.clientDevices ? [owners] : [owners, ['error_owners', hex(masked.value)]];
      return { keys, had: from.owners.get(slot), has: to.owners.get(slot) };
    }),
    ...changed(from.tags, to.tags, isSame).map((key) => {
      const keys: Change['keys'] = [
        ['tags', key],
        ['error_tags', rawTagKey(key)],
      ];
      return { keys, had: from.tags.get(key), has: to.tags.get(key) };
    }),
  ];
}

/** Keys whose value differs. */
function changed<Key>(
  from: ReadonlyMap<Key, NextHop>,
  to: ReadonlyMap<Key, NextHop>,
  isSame: (a: NextHop | undefined, b: NextHop | undefined) => boolean,
): Key[] {
  const keys = from === to ? [] : [...new Set([...from.keys(), ...to.keys()])];
  return keys.filter((key) => !isSame(from.get(key), to.get(key)));
}

function elements(verb: 'add' | 'delete', table: string, list: readonly (readonly [string, string])[]): string[] {
  const maps = new Set(list.map(([map]) => map));
  return [...maps].map((map) => {
    const some = list.flatMap(([each, element]) => (each === map ? [element] : []));
    return `${verb} element ip ${table} ${map} { ${some.join(', ')} }`;
  });
}
