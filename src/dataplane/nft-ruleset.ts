import { formatIp } from '../base/address.ts';
import type { MacAddress } from '../base/mac.ts';
import { maskedAddressOf } from '../space/partition.ts';
import type { Fence } from './data-plane.ts';
import { fnv1a } from './fnv1a.ts';
import { type ForwardingTable, type Row, type Rows, type ServiceEntry, sameRow, takesNew } from './forwarding-table.ts';
import { heldResetLines } from './held-resets.ts';
import { diversionLines, divertRule } from './nft-diversions.ts';
import { foreignRules, keptRule, seenRule, stayingChange, stayingLines } from './nft-staying.ts';
import { icmpErrorTypes } from './packet.ts';
import { nothingStays } from './staying.ts';

/** Slots per transaction, up to four elements each: libnftables blocks the caller for about 6 µs an element, and an ordinary user's netlink message is short. */
const slotsPerTransaction = 1024;

export function tableName(service: ServiceEntry): string {
  return `mc_${service.name.replaceAll('-', '_')}`;
}

/** Name of an empty chain that tells a table made by these very rules for this very service from any other. */
export function fingerprintOf(service: ServiceEntry): string {
  return `made_${fnv1a([...arrivals(service), ...departures(service), ...relayChains(service, '')].join('\n'))}`;
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
  const chains = missingChains(service, from.rows, to.rows, slots);
  return chunks([...narrowed, ...widened]).map((each, i) =>
    [...(i === 0 ? chains : []), ...changeRows(service, from.rows, to.rows, each)].join('\n'),
  );
}

/** Commands that start the fence of a mark. A timed element that is added again is not extended, so every fence has a mark of its own. */
export function armTransaction(service: ServiceEntry, fence: Fence, mark: number, ms: number): string {
  return familiesOf(fence)
    .map(
      (family) => `add element ${family} ${tableName(service)} armed_${fence} { ${mark} timeout ${Math.round(ms)}ms }`,
    )
    .join('\n');
}

/** Commands that make the fence of a mark the one that counts; no packet finds the map empty in between. */
export function grantTransaction(service: ServiceEntry, fence: Fence, mark: number | null): string {
  const name = tableName(service);
  return familiesOf(fence)
    .flatMap((family) => [
      `flush map ${family} ${name} ${fence}`,
      ...(mark === null ? [] : [`add element ${family} ${name} ${fence} { ${formatIp(service.address)} : ${mark} }`]),
    ])
    .join('\n');
}

/** Commands that remove the table, whether it is there or not. */
export function removeTransaction(service: ServiceEntry): string {
  return removeCommands(service).join('\n');
}

/** The row that an element of the slot map stands for, by the chain it goes to; null for none of ours. */
export function rowOfChain(chain: string, settled: boolean): Row | null {
  const [, kind, peer] = /^(own|relay|old)(?:_([0-9a-f]{12}))?$/.exec(chain) ?? [];
  const mac = peer?.replace(/(..)(?!$)/g, '$1:') ?? null;
  if (kind === 'own') return { kind: settled ? 'own' : 'new', peer: null };
  return kind === 'relay' || kind === 'old' ? { kind, peer: mac } : null;
}

/** Nothing but resets is looked at on the way out, and those by the lease alone. */
function familiesOf(fence: Fence): readonly string[] {
  return fence === 'lease' ? ['netdev', 'ip'] : ['netdev'];
}

function removeCommands(service: ServiceEntry): string[] {
  const name = tableName(service);
  return ['netdev', 'ip'].flatMap((family) => [`add table ${family} ${name}`, `delete table ${family} ${name}`]);
}

/** One rule for each: with no mark granted, a second rule would look up whatever mark the packet has. Others route by the mark, so it is cleared at once. */
function fenced(fence: Fence, chain: string): string {
  return `meta mark set ip daddr map @${fence} meta mark @armed_${fence} goto ${chain}`;
}

const laterFragment = 'ip frag-off & 0x1fff != 0';
const opensConnection = 'tcp flags & (fin | syn | rst | ack) == syn';

/**
 * One look-up decides whose a packet is: two could straddle a commit. Flows that are diverted come before it, whatever the row. The chain looks at nothing but the service address, so that ARP and the
 * host's own traffic pass; the slot is looked up before the ports, because most packets are somebody else's.
 */
function arrivals(service: ServiceEntry): string[] {
  const ports = service.ports.map((port) => `${port.protocol} . ${port.port}`).join(', ');
  return [
    'counter accepted { }',
    'counter relayed { }',
    'counter dropped { }',
    `set ports { type inet_proto . inet_service; elements = { ${ports} }; }`,
    'map slots { type ipv4_addr : verdict; }',
    ...diversionLines(),
    ...stayingLines(service),
    'set armed_lease { type mark; flags timeout; }',
    'set armed_hold { type mark; flags timeout; }',
    'map lease { type ipv4_addr : mark; }',
    'map hold { type ipv4_addr : mark; }',
    // A frame to a multicast MAC is not host traffic, and TCP discards it, until it is called unicast.
    'chain local { meta pkttype set unicast counter name accepted accept; }',
    'chain refuse { counter name dropped drop; }',
    'chain permitted {',
    '  meta mark set 0',
    `  ${laterFragment} goto local`,
    '  meta l4proto icmp goto local',
    ...seenRule(service),
    '  meta l4proto . th dport @ports goto local',
    '  goto refuse',
    '}',
    `chain fresh { ${fenced('lease', 'permitted')}; goto refuse; }`,
    `chain held { ${fenced('hold', 'permitted')}; goto refuse; }`,
    `chain own { ${[`${laterFragment} goto held`, `${opensConnection} goto fresh`, 'meta l4proto tcp goto held', ...foreignRules(service), 'goto fresh'].join('; ')}; }`,
    ...oldChain('old', null, service),
    'chain service {',
    `  ${divertRule}`,
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

/**
 * A host answers a segment of a connection it does not know with a reset that has no ACK (RFC 9293, section 3.10.7.1). While several hosts may hold connections
 * of a slot, none may say so for the others; and of a settled slot only once nobody else was found to have it.
 */
function departures(service: ServiceEntry): string[] {
  return [
    'counter withheld { }',
    'counter asked { }',
    'set settled { type ipv4_addr; }',
    'set armed_lease { type mark; flags timeout; }',
    'map lease { type ipv4_addr : mark; }',
    `chain settled_only { meta mark set 0; ip daddr & ${formatIp(service.partition.mask)} @settled goto ask; goto withhold; }`,
    ...heldResetLines(service),
    'chain withhold { counter name withheld drop; }',
    'chain output {',
    '  type filter hook output priority 0; policy accept;',
    `  ip saddr ${formatIp(service.address)} tcp flags & (rst | ack) == rst goto stranger`,
    '}',
    `chain stranger { ${fenced('lease', 'settled_only').replace('ip daddr', 'ip saddr')}; goto withhold; }`,
  ];
}

/** Chains of rows that name a peer. */
function relayChains(service: ServiceEntry, peer: MacAddress): string[] {
  const id = idOf(peer);
  // The frame's source too: a switch must not learn the client's link address on this host's port.
  const send = `ether saddr set ${service.ownMac} ether daddr set ${peer} counter name relayed fwd to "${service.device}"`;
  return [
    ...oldChain(`old_${id}`, peer, service),
    `chain send_${id} { meta mark set 0; meta l4proto . th dport @ports ${send}; goto refuse; }`,
    `chain relayed_${id} { ${fenced('lease', `send_${id}`)}; goto refuse; }`,
    `chain relay_${id} {`,
    `  ${laterFragment} goto held`,
    ...keptRule(service),
    '  meta l4proto != tcp goto refuse',
    // What came to this host's own address was relayed already.
    `  ${opensConnection} ether daddr ${service.ownMac} goto refuse`,
    `  ${opensConnection} goto relayed_${id}`,
    '  goto held',
    '}',
  ];
}

function oldChain(name: string, peer: MacAddress | null, service: ServiceEntry): string[] {
  const relayed = `  ${opensConnection} ether saddr ${peer} ether daddr ${service.ownMac} goto fresh`;
  return [
    `chain ${name} {`,
    `  ${laterFragment} goto held`,
    ...keptRule(service),
    '  meta l4proto != tcp goto refuse',
    ...(peer === null ? [] : [relayed]),
    `  ${opensConnection} goto refuse`,
    '  goto held',
    '}',
  ];
}

/** Commands for the chains that the rows of `slots` in `to` go to and no row of `from` does: written anew, whatever an earlier use left. */
function missingChains(service: ServiceEntry, from: Rows, to: Rows, slots: readonly number[]): string[] {
  const peers = new Set(slots.flatMap((slot) => to.get(slot)?.peer ?? []));
  for (const row of from.values()) if (row.peer !== null) peers.delete(row.peer);
  return [...peers].flatMap((peer) => {
    const lines = relayChains(service, peer);
    const names = lines.flatMap((line) => /^chain (\S+)/.exec(line)?.[1] ?? []);
    const name = tableName(service);
    return [
      ...names.flatMap((chain) => [`add chain netdev ${name} ${chain}`, `flush chain netdev ${name} ${chain}`]),
      `table netdev ${name} {`,
      ...lines.map((line) => `  ${line}`),
      '}',
    ];
  });
}

function changeRows(service: ServiceEntry, from: Rows, to: Rows, slots: readonly number[]): string[] {
  const settled = (rows: Rows) => (slot: number) => rows.get(slot)?.kind === 'own';
  const unsettle = slots.filter((slot) => settled(from)(slot) && !settled(to)(slot));
  const settle = slots.filter((slot) => !settled(from)(slot) && settled(to)(slot));
  const key = (slot: number) => formatIp(maskedAddressOf(service.partition, slot));
  const elements = (verb: string, where: string, list: readonly string[]) =>
    list.length > 0 ? [`${verb} element ${where} { ${list.join(', ')} }`] : [];
  const map = `netdev ${tableName(service)} slots`;
  const set = `ip ${tableName(service)} settled`;
  return [
    ...elements('delete', set, unsettle.map(key)),
    ...elements('delete', map, slots.filter((slot) => from.has(slot)).map(key)),
    ...elements(
      'add',
      map,
      slots.flatMap((slot) => {
        const row = to.get(slot);
        return row ? [`${key(slot)} : goto ${chainOf(row)}`] : [];
      }),
    ),
    ...elements('add', set, settle.map(key)),
  ];
}

/** On arrival `own` and `new` are the same; they differ in the set of settled slots. */
function chainOf({ kind, peer }: Row): string {
  const base = kind === 'new' ? 'own' : kind;
  return peer === null ? base : `${base}_${idOf(peer)}`;
}

function idOf(peer: MacAddress): string {
  return peer.replaceAll(':', '');
}

function chunks(slots: readonly number[]): number[][] {
  const count = Math.ceil(slots.length / slotsPerTransaction);
  return Array.from({ length: count }, (_, i) => slots.slice(i * slotsPerTransaction, (i + 1) * slotsPerTransaction));
}
