import { formatIp } from '../base/address.ts';
import { flowKey } from '../base/tcp-flow.ts';
import type { Diversions, FlowChange } from './diversions.ts';
import { holdDeviceOf, type ServiceEntry } from './forwarding-table.ts';

/** The set of flows. */
export const divertedSet = 'diverted';

/** Elements that a transaction adds: libnftables blocks the caller for some µs each, and an ordinary user's netlink message is short. */
const flowsPerTransaction = 2048;

/**
 * Lines of the ingress table. `fwd to` with a device's name is refused when there is no such device, and with it the whole table; so the rule looks the device up,
 * in a map that is written when a flow is to be diverted. A device that is made again has another index: every transaction that diverts a flow writes it anew. While the
 * device is gone, or the map empty, diverted packets drop.
 */
export function diversionLines(): string[] {
  return [
    'counter held { }',
    `set ${divertedSet} { type ipv4_addr . inet_service . inet_service; }`,
    'map hold_device { type ipv4_addr : iface_index; }',
    'chain divert { counter name held fwd to ip daddr map @hold_device; drop; }',
    'chain diverting { }',
  ];
}

/** The rule that diverts, in a chain of its own while there are flows to divert: most of the time there are none, and looking for one would take as long. Later fragments carry no ports. */
const divertRule = `ip frag-off & 0x1fff == 0 ip saddr . tcp sport . tcp dport @${divertedSet} goto divert`;

/** Commands that turn the kernel from `from` to `to`, which differ by `changes`, in one transaction. It needs the hold device when a flow is to be diverted. */
export function divertTransaction(
  service: ServiceEntry,
  table: string,
  { from, to, changes }: { from: Diversions; to: Diversions; changes: readonly FlowChange[] },
): string {
  const { begin, end } = diverting(table, from, to);
  const keys = [...new Set(changes.map(({ flow }) => flowKey(flow)))];
  return [
    ...(changes.some(({ isDiverted }) => isDiverted) ? [holdDeviceTransaction(service, table)] : []),
    ...begin,
    ...elementCommands(
      'delete',
      table,
      keys.filter((key) => from.has(key) && !to.has(key)),
    ),
    ...elementCommands(
      'add',
      table,
      keys.filter((key) => to.has(key) && !from.has(key)),
    ),
    ...end,
  ].join('\n');
}

/** Commands that begin to look for flows to divert, and that end it. */
function diverting(table: string, from: Diversions, to: Diversions): { begin: string[]; end: string[] } {
  return {
    begin: from.size === 0 && to.size > 0 ? [`add rule netdev ${table} diverting ${divertRule}`] : [],
    end: from.size > 0 && to.size === 0 ? [`flush chain netdev ${table} diverting`] : [],
  };
}

/** Commands that divert nothing any more, whatever was. */
export function forgetTransaction(table: string): string {
  return `flush chain netdev ${table} diverting\nflush set netdev ${table} ${divertedSet}`;
}

/**
 * Commands that add all of `diversions` to a table that has none. Several transactions: without fences nothing is taken meanwhile anyway. The hold device is not
 * among them, as it may be gone.
 */
export function addTransactions(table: string, diversions: Diversions): string[] {
  const keys = [...diversions.keys()];
  const count = Math.ceil(keys.length / flowsPerTransaction);
  const { begin } = diverting(table, new Map(), diversions);
  return Array.from({ length: count }, (_, i) => {
    const some = keys.slice(i * flowsPerTransaction, (i + 1) * flowsPerTransaction);
    return [...(i === 0 ? begin : []), ...elementCommands('add', table, some)].join('\n');
  });
}

/** Commands that have diverted packets go to the hold device as it is now; refused when there is none. */
export function holdDeviceTransaction(service: ServiceEntry, table: string): string {
  return [
    `flush map netdev ${table} hold_device`,
    `add element netdev ${table} hold_device { ${formatIp(service.address)} : "${holdDeviceOf(service)}" }`,
  ].join('\n');
}

function elementCommands(verb: 'add' | 'delete', table: string, keys: readonly string[]): string[] {
  return keys.length > 0 ? [`${verb} element netdev ${table} ${divertedSet} { ${keys.join(', ')} }`] : [];
}
