import { formatIp } from '../base/address.ts';
import { flowKey } from '../base/tcp-flow.ts';
import type { Diversions, Diverted, FlowChange } from './diversions.ts';
import { holdDeviceOf, type ServiceEntry } from './forwarding-table.ts';

/** The map of flows to what becomes of their packets. One map of both kinds: a flow that goes from one to the other is never found in neither. */
export const divertedMap = 'diverted';

/** Elements that a transaction adds: libnftables blocks the caller for some µs each, and an ordinary user's netlink message is short. */
const flowsPerTransaction = 2048;

/**
 * Lines of the ingress table. `fwd to` with a device's name is refused when there is no such device, and with it the whole table; so the rule looks the device up,
 * in a map that is written when a flow is to be held. A device that is made again has another index: every transaction that holds a flow writes it anew. While the
 * device is gone, or the map empty, held packets drop.
 */
export function diversionLines(): string[] {
  return [
    'counter cut { }',
    'counter held { }',
    `map ${divertedMap} { type ipv4_addr . inet_service . inet_service : verdict; }`,
    'map hold_device { type ipv4_addr : iface_index; }',
    `chain ${chainOf('cut')} { counter name cut drop; }`,
    `chain ${chainOf('hold')} { counter name held fwd to ip daddr map @hold_device; drop; }`,
  ];
}

/** The rule that diverts. Later fragments carry no ports. */
export const divertRule = `ip frag-off & 0x1fff == 0 ip saddr . tcp sport . tcp dport vmap @${divertedMap}`;

/** Commands that turn the kernel from `from` to `to`, which differ by `changes`, in one transaction. It needs the hold device when a flow is to be held. */
export function divertTransaction(
  service: ServiceEntry,
  table: string,
  { from, to, changes }: { from: Diversions; to: Diversions; changes: readonly FlowChange[] },
): string {
  const keys = [...new Set(changes.map(({ flow }) => flowKey(flow)))].filter(
    (key) => from.get(key)?.to !== to.get(key)?.to,
  );
  const gone = keys.filter((key) => from.has(key));
  return [
    ...(changes.some((change) => change.to === 'hold') ? [holdDeviceTransaction(service, table)] : []),
    ...(gone.length > 0 ? [`delete element netdev ${table} ${divertedMap} { ${gone.join(', ')} }`] : []),
    ...addCommands(table, to, keys),
  ].join('\n');
}

/**
 * Commands that add all of `diversions` to a table that has none. Several transactions: without fences nothing is taken meanwhile anyway. The hold device is not
 * among them, as it may be gone.
 */
export function addTransactions(table: string, diversions: Diversions): string[] {
  const keys = [...diversions.keys()];
  const count = Math.ceil(keys.length / flowsPerTransaction);
  return Array.from({ length: count }, (_, i) =>
    addCommands(table, diversions, keys.slice(i * flowsPerTransaction, (i + 1) * flowsPerTransaction)).join('\n'),
  );
}

/** Commands that have held packets go to the hold device as it is now; refused when there is none. */
export function holdDeviceTransaction(service: ServiceEntry, table: string): string {
  return [
    `flush map netdev ${table} hold_device`,
    `add element netdev ${table} hold_device { ${formatIp(service.address)} : "${holdDeviceOf(service)}" }`,
  ].join('\n');
}

/** An element of the map, as libnftables-json(5) has it. */
export type DivertedElement = readonly [
  { readonly concat?: readonly [string, number, number] },
  { readonly goto?: { readonly target: string } },
];

/** The elements are those of `diversions` and no others. */
export function isExactly(elements: readonly DivertedElement[], diversions: Diversions): boolean {
  return (
    elements.length === diversions.size &&
    elements.every(([{ concat = [] }, verdict]) => {
      const wanted = diversions.get(concat.join(' . '));
      return wanted !== undefined && verdict.goto?.target === chainOf(wanted.to);
    })
  );
}

function addCommands(table: string, diversions: Diversions, keys: readonly string[]): string[] {
  const elements = keys.flatMap((key) => {
    const wanted = diversions.get(key);
    return wanted ? [`${key} : goto ${chainOf(wanted.to)}`] : [];
  });
  return elements.length > 0 ? [`add element netdev ${table} ${divertedMap} { ${elements.join(', ')} }`] : [];
}

function chainOf(to: Diverted): string {
  return `divert_${to}`;
}
