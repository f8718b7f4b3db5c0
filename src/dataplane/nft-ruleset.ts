import { formatIp } from '../base/address.ts';
import { maskedAddressOf } from '../space/partition.ts';
import type { ForwardingTable, Row, ServiceEntry } from './forwarding-table.ts';
import { icmpErrorTypes } from './packet.ts';

/** Elements per transaction: libnftables blocks the caller for about 6 µs an element. */
const elementsPerTransaction = 4096;

export function tableName(service: ServiceEntry): string {
  return `mc_${service.name.replaceAll('-', '_')}`;
}

/** Commands that replace whatever stands under the service's name by the whole table. The first is enough to fail closed. */
export function installTransactions(table: ForwardingTable): string[] {
  const name = tableName(table.service);
  const [first = [], ...rest] = chunks([...table.rows]);
  const install = [
    `add table netdev ${name}`,
    `delete table netdev ${name}`,
    `table netdev ${name} {`,
    ...ruleset(table.service).map((line) => `  ${line}`),
    '}',
    ...addElements(table.service, first),
  ];
  return [install.join('\n'), ...rest.map((rows) => addElements(table.service, rows).join('\n'))];
}

/**
 * Commands that turn the kernel from table `from` to `to`, of the same service: rows that go before rows that come when they do not
 * fit one transaction, so that a half-applied change takes too little and never too much. Empty when nothing differs.
 */
export function changeTransactions(from: ForwardingTable, to: ForwardingTable): string[] {
  const gone = [...from.rows].filter(([slot, row]) => to.rows.get(slot) !== row);
  const come = [...to.rows].filter(([slot, row]) => from.rows.get(slot) !== row);
  if (gone.length + come.length <= elementsPerTransaction) {
    const commands = [...deleteElements(to.service, gone), ...addElements(to.service, come)];
    return commands.length > 0 ? [commands.join('\n')] : [];
  }
  return [
    ...chunks(gone).map((rows) => deleteElements(to.service, rows).join('\n')),
    ...chunks(come).map((rows) => addElements(to.service, rows).join('\n')),
  ];
}

/** Commands that start the lease of a mark. A timed element that is added again is not extended, so every lease has a mark of its own. */
export function armTransaction(service: ServiceEntry, mark: number, leaseMs: number): string {
  return `add element netdev ${tableName(service)} armed { ${mark} timeout ${Math.round(leaseMs)}ms }`;
}

/** Commands that make the lease of a mark the one that counts; no packet finds the map empty in between. */
export function grantTransaction(service: ServiceEntry, mark: number): string {
  const name = tableName(service);
  return `flush map netdev ${name} current\nadd element netdev ${name} current { ${formatIp(service.address)} : ${mark} }`;
}

/** Commands that remove the table, whether it is there or not. */
export function removeTransaction(service: ServiceEntry): string {
  const name = tableName(service);
  return `add table netdev ${name}\ndelete table netdev ${name}`;
}

/**
 * One look-up decides a packet: two could straddle a commit. The chain looks at nothing but the service address, so that ARP and the
 * host's own traffic pass; the slot is looked up before the ports, because most packets are somebody else's.
 */
function ruleset(service: ServiceEntry): string[] {
  const ports = service.ports.map((port) => `${port.protocol} . ${port.port}`).join(', ');
  return [
    'counter accepted { }',
    'counter dropped { }',
    `set ports { type inet_proto . inet_service; elements = { ${ports} }; }`,
    'map slots { type ipv4_addr : verdict; }',
    'set armed { type mark; flags timeout; }',
    'map current { type ipv4_addr : mark; }',
    // A frame to a multicast MAC is not host traffic, and TCP discards it, until it is called unicast.
    'chain local { meta pkttype set unicast counter name accepted accept; }',
    'chain refuse { counter name dropped drop; }',
    'chain leased {',
    // Others route by it.
    '  meta mark set 0',
    '  ip frag-off & 0x1fff != 0 goto local',
    '  meta l4proto icmp goto local',
    '  meta l4proto . th dport @ports goto local',
    '  goto refuse',
    '}',
    'chain own {',
    // One rule: with no mark granted, a second would look up whatever mark the packet has.
    '  meta mark set ip daddr map @current meta mark @armed goto leased',
    '  goto refuse',
    '}',
    'chain service {',
    `  ip frag-off & 0x1fff == 0 icmp type { ${Object.keys(icmpErrorTypes).join(', ')} } goto local`,
    `  ip saddr & ${formatIp(service.partition.mask)} vmap @slots`,
    '  goto refuse',
    '}',
    'chain ingress {',
    `  type filter hook ingress device "${service.device}" priority 0; policy accept;`,
    `  ip daddr ${formatIp(service.address)} goto service`,
    '}',
  ];
}

function addElements(service: ServiceEntry, rows: readonly (readonly [number, Row])[]): string[] {
  if (rows.length === 0) return [];
  const elements = rows.map(([slot, row]) => `${formatIp(maskedAddressOf(service.partition, slot))} : goto ${row}`);
  return [`add element netdev ${tableName(service)} slots { ${elements.join(', ')} }`];
}

function deleteElements(service: ServiceEntry, rows: readonly (readonly [number, Row])[]): string[] {
  if (rows.length === 0) return [];
  const keys = rows.map(([slot]) => formatIp(maskedAddressOf(service.partition, slot)));
  return [`delete element netdev ${tableName(service)} slots { ${keys.join(', ')} }`];
}

function chunks(rows: readonly (readonly [number, Row])[]): (readonly [number, Row])[][] {
  const count = Math.ceil(rows.length / elementsPerTransaction);
  return Array.from({ length: count }, (_, i) =>
    rows.slice(i * elementsPerTransaction, (i + 1) * elementsPerTransaction),
  );
}
