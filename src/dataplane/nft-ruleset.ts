import { formatIp } from '../base/address.ts';
import { maskedAddressOf } from '../space/partition.ts';
import { fnv1a } from './fnv1a.ts';
import {
  type ForwardingTable,
  localMark,
  type Row,
  type Rows,
  type ServiceEntry,
  sameRow,
  takesNew,
} from './forwarding-table.ts';
import { heldResetLines } from './held-resets.ts';
import { diversionLines } from './nft-diversions.ts';
import {
  chainOf,
  commonChains,
  comparedPortsMax,
  errorChainOf,
  exampleChains,
  fenced,
  isRouted,
  laterFragment,
  missingChains,
} from './nft-rows.ts';
import { seenRule, stayingChange, stayingLines } from './nft-staying.ts';
import { icmpErrorTypes } from './packet.ts';
import { nothingStays } from './staying.ts';

/** Stands at the end of the chain that most packets come to, too: that spares them a jump. */
const refusal = 'counter name dropped drop';
/** Slots per transaction, up to four elements each: libnftables blocks the caller for about 6 µs an element, and an ordinary user's netlink message is short. */
const slotsPerTransaction = 1024;

export function tableName(service: Pick<ServiceEntry, 'name'>): string {
  return `mc_${service.name.replaceAll('-', '_')}`;
}

/** Name of an empty chain that tells a table made by these very rules for this very service from any other. */
export function fingerprintOf(service: ServiceEntry): string {
  return `made_${fnv1a([...arrivals(service), ...departures(service), ...exampleChains(service)].join('\n'))}`;
}

/** Commands that replace whatever stands under the service's name by the whole table. The first is enough to fail closed. */
export function installTransactions(table: ForwardingTable): string[] {
  const { service } = table;
  const name = tableName(service);
  const install = [
    ...removeCommands(service),
    `table netdev ${name} {`,
    `  chain ${fingerprintOf(service)} { }`,
    ...arrivals(service).map((line) => `  ${line}`),
    '}',
    `table ip ${name} {`,
    ...departures(service).map((line) => `  ${line}`),
    '}',
  ].join('\n');
  const [first, ...rest] = changeTransactions({ service, rows: new Map() }, table);
  return [first ? `${install}\n${first}` : install, ...rest];
}

/**
 * Commands that turn the kernel from table `from` to `to`, of the same service. A row is replaced within one transaction, so that no packet finds none. When
 * all do not fit one transaction, those come first that take nothing new, so that a half-applied change takes too little and never too much.
 * Empty when nothing differs.
 */
export function changeTransactions(from: ForwardingTable, to: ForwardingTable): string[] {
  const rows = rowTransactions(from, to);
  const [was, is] = [from.staying ?? nothingStays, to.staying ?? nothingStays];
  const { before, after, isSmall } = stayingChange(to.service, tableName(to.service), was, is);
  const all = [...before, ...rows, ...after];
  return rows.length > 1 || !isSmall || all.length === 0 ? all : [all.join('\n')];
}

function rowTransactions(from: ForwardingTable, to: ForwardingTable): string[] {
  const slots = [...new Set([...from.rows.keys(), ...to.rows.keys()])].filter(
    (slot) => !sameRow(from.rows.get(slot), to.rows.get(slot)),
  );
  const narrowed = slots.filter((slot) => !takesNew(to.rows.get(slot)));
  const widened = slots.filter((slot) => takesNew(to.rows.get(slot)));
  const { service } = to;
  const chains = missingChains(service, tableName(service), { from: from.rows, to: to.rows, slots });
  return chunks([...narrowed, ...widened]).map((each, i) =>
    [...(i === 0 ? chains : []), ...changeRows(service, from.rows, to.rows, each)].join('\n'),
  );
}

/** Commands that remove the table, whether it is there or not. */
export function removeTransaction(service: Pick<ServiceEntry, 'name'>): string {
  return removeCommands(service).join('\n');
}

function removeCommands(service: Pick<ServiceEntry, 'name'>): string[] {
  const name = tableName(service);
  return ['netdev', 'ip'].flatMap((family) => [`add table ${family} ${name}`, `delete table ${family} ${name}`]);
}

/**
 * One look-up decides whose a packet is: two could straddle a commit. Flows that are diverted come before it, whatever the row. The chain looks at nothing but the service address, so that ARP and the
 * host's own traffic pass; the slot is looked up before the ports, because most packets are somebody else's.
 */
function arrivals(service: ServiceEntry): string[] {
  const ports = service.ports.map((port) => `${port.protocol} . ${port.port}`).join(', ');
  const bySlot = `ip saddr & ${formatIp(service.partition.mask)} vmap @slots`;
  return [
    'counter accepted { }',
    'counter relayed { }',
    'counter dropped { }',
    `set ports { type inet_proto . inet_service; elements = { ${ports} }; }`,
    `map slots { type ipv4_addr : verdict; ${sizedFor(service)} }`,
    ...diversionLines(),
    ...stayingLines(service),
    'set armed_lease { type mark; flags timeout; }',
    'set armed_hold { type mark; flags timeout; }',
    'map lease { type ipv4_addr : mark; size 1; }',
    'map hold { type ipv4_addr : mark; size 1; }',
    `chain local { ${upwards(service)} counter name accepted accept; }`,
    `chain refuse { ${refusal}; }`,
    'chain permitted {',
    ...unmark(service).map((rule) => `  ${rule}`),
    `  ${laterFragment} goto local`,
    '  meta l4proto icmp goto local',
    ...seenRule(service),
    '  meta l4proto . th dport @ports goto local',
    '  goto refuse',
    '}',
    `chain served { ${[...unmark(service), ...servedByTcp(service), 'goto refuse'].join('; ')}; }`,
    `chain flowing { ${fenced('hold', 'served')}; goto refuse; }`,
    `chain fresh { ${fenced('lease', 'permitted')}; goto refuse; }`,
    `chain held { ${fenced('hold', 'permitted')}; goto refuse; }`,
    ...commonChains(service),
    'chain messages {',
    `  ip frag-off & 0x1fff == 0 icmp type { ${Object.keys(icmpErrorTypes).join(', ')} } goto ${isRouted(service) ? 'errors' : 'local'}`,
    `  ${bySlot}`,
    '  goto refuse',
    '}',
    'chain service {',
    '  meta l4proto icmp goto messages',
    '  jump diverting',
    `  ${bySlot}`,
    `  ${refusal}`,
    '}',
    'chain ingress {',
    `  type filter hook ingress device "${service.device}" priority 0; policy accept;`,
    `  ip daddr ${formatIp(service.address)} ${isRouted(service) ? 'meta pkttype unicast ' : ''}goto service`,
    '}',
  ];
}

/** A set of known size has its elements compared as numbers: a look-up in one that may grow takes longer. */
function sizedFor({ partition }: ServiceEntry): string {
  return `size ${partition.slotCount};`;
}

/** The mark of a fence is nobody else's business. From a router it is written over by that of packets for this host. */
function unmark(service: ServiceEntry): string[] {
  return isRouted(service) ? [] : ['meta mark set 0'];
}

/** Rules for most packets: TCP that opens nothing. */
function servedByTcp({ ports }: ServiceEntry): string[] {
  const tcp = ports.filter(({ protocol }) => protocol === 'tcp');
  return tcp.length <= comparedPortsMax
    ? tcp.map(({ port }) => `th dport ${port} goto local`)
    : ['meta l4proto . th dport @ports goto local'];
}

/**
 * What makes a packet one for this host. On a segment its frame came to a multicast MAC, and TCP discards it until it is called unicast. From a router it comes to the host's own, and it
 * is the mark that has it routed here; frames to somebody else's, which a promiscuous device hears, never come so far.
 */
function upwards(service: ServiceEntry): string {
  return isRouted(service) ? `meta mark set ${localMark}` : 'meta pkttype set unicast';
}

/**
 * A host answers a segment of a connection it does not know with a reset that has no ACK (RFC 9293, section 3.10.7.1). While several hosts may hold connections
 * of a slot, none may say so for the others; and of a settled slot only once nobody else was found to have it.
 */
function departures(service: ServiceEntry): string[] {
  return [
    'counter withheld { }',
    'counter asked { }',
    `set settled { type ipv4_addr; ${sizedFor(service)} }`,
    'set armed_lease { type mark; flags timeout; }',
    'map lease { type ipv4_addr : mark; size 1; }',
    `chain settled_only { meta mark set 0; ip daddr & ${formatIp(service.partition.mask)} @settled goto ask; goto withhold; }`,
    ...heldResetLines(service),
    'chain withhold { counter name withheld drop; }',
    'chain output {',
    '  type filter hook output priority 0; policy accept;',
    `  tcp flags & (rst | ack) == rst ip saddr ${formatIp(service.address)} goto stranger`,
    '}',
    `chain stranger { ${fenced('lease', 'settled_only').replace('ip daddr', 'ip saddr')}; goto withhold; }`,
  ];
}

function changeRows(service: ServiceEntry, from: Rows, to: Rows, slots: readonly number[]): string[] {
  const settled = (rows: Rows) => (slot: number) => rows.get(slot)?.kind === 'own';
  const unsettle = slots.filter((slot) => settled(from)(slot) && !settled(to)(slot));
  const settle = slots.filter((slot) => !settled(from)(slot) && settled(to)(slot));
  const key = (slot: number) => formatIp(maskedAddressOf(service.partition, slot));
  const rawKey = (slot: number) => `0x${maskedAddressOf(service.partition, slot).value.toString(16)}`;
  const copies = (rows: Rows) => (slot: number) => rows.get(slot)?.holders !== undefined;
  const elements = (verb: string, where: string, list: readonly string[]) =>
    list.length > 0 ? [`${verb} element ${where} { ${list.join(', ')} }`] : [];
  const map = `netdev ${tableName(service)} slots`;
  const errors = `netdev ${tableName(service)} error_copies`;
  const set = `ip ${tableName(service)} settled`;
  const goingTo = (chain: (row: Row) => string, keyOf: typeof key) => (slot: number) => {
    const row = to.get(slot);
    return row ? [`${keyOf(slot)} : goto ${chain(row)}`] : [];
  };
  return [
    ...elements('delete', set, unsettle.map(key)),
    ...elements('delete', map, slots.filter((slot) => from.has(slot)).map(key)),
    ...elements('delete', errors, slots.filter(copies(from)).map(rawKey)),
    ...elements('add', map, slots.flatMap(goingTo(chainOf, key))),
    ...elements('add', errors, slots.filter(copies(to)).flatMap(goingTo(errorChainOf, rawKey))),
    ...elements('add', set, settle.map(key)),
  ];
}

function chunks(slots: readonly number[]): number[][] {
  const count = Math.ceil(slots.length / slotsPerTransaction);
  return Array.from({ length: count }, (_, i) => slots.slice(i * slotsPerTransaction, (i + 1) * slotsPerTransaction));
}
