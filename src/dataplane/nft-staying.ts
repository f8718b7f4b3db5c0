import { formatIp, type IpAddress } from '../base/address.ts';
import { maskedAddressOf } from '../space/partition.ts';
import type { ServiceEntry } from './forwarding-table.ts';
import { type Staying, seenMax, type UdpFlow } from './staying.ts';

/** Of the ingress table: two with client address, client port and service port, one with masked addresses. */
export const stayingSets = { kept: 'udp_kept', foreign: 'udp_foreign', shut: 'udp_shut' } as const;
export const seenSet = 'udp_seen';

const flowType = 'type ipv4_addr . inet_service . inet_service';
const flow = 'ip saddr . udp sport . udp dport';

/** Elements that a transaction adds, as for diversions. */
const elementsPerTransaction = 2048;

/** Lines of the ingress table; none for a service whose UDP follows the slot. */
export function stayingLines({ udpIdleMs }: ServiceEntry): string[] {
  if (udpIdleMs === undefined) return [];
  return [
    `set ${seenSet} { ${flowType}; flags dynamic,timeout; timeout ${Math.round(udpIdleMs)}ms; size ${seenMax}; }`,
    `set ${stayingSets.kept} { ${flowType}; }`,
    `set ${stayingSets.foreign} { ${flowType}; }`,
    `set ${stayingSets.shut} { type ipv4_addr; }`,
  ];
}

/** Remembers the flow of a datagram that is taken; a full set ends this rule and not the packet. */
export function seenRule({ udpIdleMs }: ServiceEntry): string[] {
  return udpIdleMs === undefined ? [] : [`  meta l4proto . th dport @ports update @${seenSet} { ${flow} }`];
}

/** For chains of rows that take whatever comes: not what stays elsewhere, or may; that goes to the chain `elsewhere`. */
export function foreignRules({ udpIdleMs, partition }: ServiceEntry, elsewhere: string): string[] {
  if (udpIdleMs === undefined) return [];
  return [
    `${flow} @${stayingSets.kept} goto fresh`,
    `meta l4proto udp ip saddr & ${formatIp(partition.mask)} @${stayingSets.shut} goto ${elsewhere}`,
    `${flow} @${stayingSets.foreign} goto ${elsewhere}`,
  ];
}

/** For chains of rows that take no UDP: but what stays here. */
export function keptRule({ udpIdleMs }: ServiceEntry): string[] {
  return udpIdleMs === undefined ? [] : [`  ${flow} @${stayingSets.kept} goto fresh`];
}

/** Commands in the order in which they take too little at any time, and never too much: `before` the rows change and `after`. */
export interface StayingChange {
  readonly before: readonly string[];
  readonly after: readonly string[];
  /** Few enough flows to go with the rows into one transaction. */
  readonly isSmall: boolean;
}

export function stayingChange(service: ServiceEntry, table: string, from: Staying, to: Staying): StayingChange {
  let elements = 0;
  const change = (verb: 'add' | 'delete', side: keyof Staying): string[] => {
    const [has, lacks] = verb === 'add' ? [to[side], from[side]] : [from[side], to[side]];
    const keys = minus(service, has, lacks);
    elements += keys.length;
    return elementCommands(`${verb} element netdev ${table} ${stayingSets[side]}`, keys);
  };
  const before = [
    ...change('delete', 'kept'),
    ...change('add', 'shut'),
    ...change('add', 'foreign'),
    ...change('add', 'kept'),
  ];
  const after = [...change('delete', 'foreign'), ...change('delete', 'shut')];
  return { before, after, isSmall: elements <= elementsPerTransaction / 2 };
}

/** A key of one of the sets of flows: three fields in network byte order, each of 4 bytes. */
export function flowOfKey(key: DataView): UdpFlow {
  return { client: addressOfKey(key), clientPort: key.getUint16(4), servicePort: key.getUint16(8) };
}

/** The address that a key is, or begins with. */
export function addressOfKey(key: DataView): IpAddress {
  return { family: 4, value: BigInt(key.getUint32(0)) };
}

type Members = ReadonlyMap<string, UdpFlow> | ReadonlySet<number>;

/** Elements of `a` that `b` lacks, as nftables writes them. */
function minus({ partition }: ServiceEntry, a: Members, b: Members): string[] {
  if (a === b) return [];
  const others: ReadonlySet<string | number> = new Set<string | number>(b.keys());
  const keys = [...a.keys()].filter((key) => !others.has(key));
  return keys.map((key) => (typeof key === 'number' ? formatIp(maskedAddressOf(partition, key)) : key));
}

function elementCommands(command: string, keys: readonly string[]): string[] {
  const count = Math.ceil(keys.length / elementsPerTransaction);
  return Array.from({ length: count }, (_, i) => {
    const some = keys.slice(i * elementsPerTransaction, (i + 1) * elementsPerTransaction);
    return `${command} { ${some.join(', ')} }`;
  });
}
