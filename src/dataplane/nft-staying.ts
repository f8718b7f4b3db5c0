import { parseIp } from '../base/address.ts';
import type { ServiceEntry } from './forwarding-table.ts';
import { type Staying, seenMax, type UdpFlow, type UdpFlows } from './staying.ts';

/** Of the ingress table, each with client address, client port and service port. */
export const stayingSets = { kept: 'udp_kept', foreign: 'udp_foreign' } as const;
export const seenSet = 'udp_seen';

const flowType = 'type ipv4_addr . inet_service . inet_service';
const flow = 'ip saddr . udp sport . udp dport';

/** Elements that a transaction adds, as for diversions. */
const flowsPerTransaction = 2048;

/** Lines of the ingress table; none for a service whose UDP follows the slot. */
export function stayingLines({ udpIdleMs }: ServiceEntry): string[] {
  if (udpIdleMs === undefined) return [];
  return [
    `set ${seenSet} { ${flowType}; flags dynamic,timeout; timeout ${Math.round(udpIdleMs)}ms; size ${seenMax}; }`,
    `set ${stayingSets.kept} { ${flowType}; }`,
    `set ${stayingSets.foreign} { ${flowType}; }`,
  ];
}

/** Remembers the flow of a datagram that is taken; a full set ends this rule and not the packet. */
export function seenRule({ udpIdleMs }: ServiceEntry): string[] {
  return udpIdleMs === undefined ? [] : [`  meta l4proto . th dport @ports update @${seenSet} { ${flow} }`];
}

/** For the chain of rows that take whatever comes: not what stays elsewhere. */
export function foreignRule({ udpIdleMs }: ServiceEntry): string[] {
  return udpIdleMs === undefined ? [] : [`${flow} @${stayingSets.foreign} goto refuse`];
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

export function stayingChange(table: string, from: Staying, to: Staying): StayingChange {
  let flows = 0;
  const change = (verb: 'add' | 'delete', side: keyof Staying): string[] => {
    const [has, lacks] = verb === 'add' ? [to[side], from[side]] : [from[side], to[side]];
    const keys = minus(has, lacks);
    flows += keys.length;
    return elementCommands(`${verb} element netdev ${table} ${stayingSets[side]}`, keys);
  };
  const before = [...change('delete', 'kept'), ...change('add', 'foreign'), ...change('add', 'kept')];
  const after = change('delete', 'foreign');
  return { before, after, isSmall: flows <= flowsPerTransaction / 2 };
}

/** What a listing of one of the sets says; elements of any other shape are none of ours. */
export type ListedFlow =
  | { readonly concat?: readonly [string, number, number] }
  | { readonly elem?: { readonly val?: { readonly concat?: readonly [string, number, number] } } };

export function flowsListed(elements: readonly ListedFlow[]): UdpFlow[] {
  return elements.flatMap((element) => {
    const concat = 'elem' in element ? element.elem?.val?.concat : 'concat' in element ? element.concat : undefined;
    const client = parseIp(concat?.[0] ?? '');
    if (!concat || !client.ok) return [];
    return [{ client: client.value, clientPort: concat[1], servicePort: concat[2] }];
  });
}

function minus(a: UdpFlows, b: UdpFlows): string[] {
  return a === b ? [] : [...a.keys()].filter((key) => !b.has(key));
}

function elementCommands(command: string, keys: readonly string[]): string[] {
  const count = Math.ceil(keys.length / flowsPerTransaction);
  return Array.from({ length: count }, (_, i) => {
    const some = keys.slice(i * flowsPerTransaction, (i + 1) * flowsPerTransaction);
    return `${command} { ${some.join(', ')} }`;
  });
}
