import type { MacAddress } from '../base/mac.ts';
import type { Fence } from './data-plane.ts';
import type { Row, Rows, ServiceEntry } from './forwarding-table.ts';
import { foreignRules, keptRule } from './nft-staying.ts';

export const laterFragment = 'ip frag-off & 0x1fff != 0';
/** A few ports are compared one by one, which takes less than to look one up in a set. */
export const comparedPortsMax = 4;
const opensConnection = 'tcp flags & (fin | syn | rst | ack) == syn';
/** Of TCP, and no later fragment: those have no flags, so a rule that asks for them ends there. */
const opensNothing = 'tcp flags & (fin | syn | rst | ack) != syn';

/**
 * What one replica sends to another in `router` delivery, copies and SYNs, it sends with this time to live; and what comes with it is never sent on. It says so whoever knows whom: hosts that act on different
 * ledgers, each taking the next for the holder, could send a copy round and round, which no link address would end.
 */
const sentOn = 'ip ttl 1';
const markSentOn = 'ip ttl set 1';

/** One rule for each: with no mark granted, a second rule would look up whatever mark the packet has. Others route by the mark, so it is cleared at once. */
export function fenced(fence: Fence, chain: string): string {
  return `meta mark set ip daddr map @${fence} meta mark @armed_${fence} goto ${chain}`;
}

export function isRouted({ delivery }: ServiceEntry): boolean {
  return delivery === 'router';
}

/** Chains of rows that name nobody. */
export function commonChains(service: ServiceEntry): string[] {
  return [
    `chain own { ${[`${opensNothing} goto flowing`, `${laterFragment} goto held`, ...foreignRules(service, 'refuse'), 'goto fresh'].join('; ')}; }`,
    ...oldChain('old', null, service),
    ...(isRouted(service) ? errorChain(service) : []),
  ];
}

/** On arrival `own` and `new` are the same; they differ in the set of settled slots. */
export function chainOf({ kind, peer, holders }: Row): string {
  const base = kind === 'new' ? 'own' : kind;
  return [base, ...(peer === null ? [] : [idOf(peer)]), ...(holders ? ['to', idsOf(holders)] : [])].join('_');
}

/** Of ICMP errors about packets to clients of a row that has holders. */
export function errorChainOf({ holders = [] }: Row): string {
  return `errors_${idsOf(holders)}`;
}

/** The row that an element of the slot map stands for, by the chain it goes to; null for none of ours. */
export function rowOfChain(chain: string, settled: boolean): Row | null {
  const [, kind, peer, to] = /^(own|relay|old)(?:_([0-9a-f]{12}))?(?:_to((?:_[0-9a-f]{12})+))?$/.exec(chain) ?? [];
  const holders = to ? { holders: to.slice(1).split('_').map(macOf) } : {};
  if (kind === 'own') return { kind: settled ? 'own' : 'new', peer: null, ...holders };
  return kind === 'relay' || kind === 'old' ? { kind, peer: peer ? macOf(peer) : null, ...holders } : null;
}

/** All chains that rows may need, for the fingerprint. */
export function exampleChains(service: ServiceEntry): string[] {
  const relay: Row = { kind: 'relay', peer: '' };
  const rows: Row[] = isRouted(service)
    ? [
        { ...relay, holders: [''] },
        { kind: 'new', peer: null, holders: [''] },
      ]
    : [];
  return [relay, ...rows].flatMap((row) => groupsOf(service, row)).flatMap(([, lines]) => lines());
}

/** Commands for the chains that the rows of `slots` in `to` go to and no row of `from` does: written anew, whatever an earlier use left. */
export function missingChains(
  service: ServiceEntry,
  table: string,
  { from, to, slots }: { from: Rows; to: Rows; slots: readonly number[] },
): string[] {
  const missing = new Map(
    slots.flatMap((slot) => {
      const row = to.get(slot);
      return row ? groupsOf(service, row) : [];
    }),
  );
  if (missing.size > 0)
    for (const row of from.values()) for (const [name] of groupsOf(service, row)) missing.delete(name);
  return [...missing.values()].flatMap((linesOf) => {
    const lines = linesOf();
    const names = lines.flatMap((line) => /^chain (\S+)/.exec(line)?.[1] ?? []);
    return [
      ...names.flatMap((chain) => [`add chain netdev ${table} ${chain}`, `flush chain netdev ${table} ${chain}`]),
      `table netdev ${table} {`,
      ...lines.map((line) => `  ${line}`),
      '}',
    ];
  });
}

/** Chains that are made together, by a name. */
type Group = readonly [name: string, lines: () => string[]];

/** What a row needs, in the order in which it is made. */
function groupsOf(service: ServiceEntry, { kind, peer, holders }: Row): Group[] {
  const groups: Group[] = [];
  if (peer !== null) groups.push([idOf(peer), () => relayChains(service, peer)]);
  if (holders) groups.push([`to_${idsOf(holders)}`, () => copyChains(service, holders)]);
  if (holders && kind === 'relay' && peer !== null) {
    groups.push([`${idOf(peer)}_to_${idsOf(holders)}`, () => relayChain(service, peer, idsOf(holders))]);
  }
  return groups;
}

/** Chains of rows that name a peer. */
function relayChains(service: ServiceEntry, peer: MacAddress): string[] {
  const id = idOf(peer);
  const mark = isRouted(service) ? [markSentOn] : [];
  // The frame's source too: a switch must not learn the client's link address on this host's port.
  const addressed = `ether saddr set ${service.ownMac} ether daddr set ${peer}`;
  const send = [...mark, addressed, `counter name relayed fwd to "${service.device}"`].join(' ');
  return [
    ...oldChain(`old_${id}`, peer, service),
    `chain send_${id} { meta mark set 0; meta l4proto . th dport @ports ${send}; goto refuse; }`,
    `chain relayed_${id} { ${fenced('lease', `send_${id}`)}; goto refuse; }`,
    ...relayChain(service, peer, null),
  ];
}

/** `copies` names the holders that see no frames but copies. */
function relayChain(service: ServiceEntry, peer: MacAddress, copies: string | null): string[] {
  const id = idOf(peer);
  const held = copies === null ? 'held' : `copied_${copies}`;
  return [
    `chain relay_${id}${copies === null ? '' : `_to_${copies}`} {`,
    `  ${laterFragment} goto ${held}`,
    ...keptRule(service),
    `  meta l4proto != tcp goto ${copies === null ? 'refuse' : `passed_${copies}`}`,
    // What came to this host's own address was relayed already.
    `  ${opensConnection} ${isRouted(service) ? sentOn : `ether daddr ${service.ownMac}`} goto refuse`,
    `  ${opensConnection} goto relayed_${id}`,
    `  goto ${held}`,
    '}',
  ];
}

function oldChain(name: string, peer: MacAddress | null, service: ServiceEntry): string[] {
  const relayed = `  ${opensConnection} ether saddr ${peer} ${isRouted(service) ? sentOn : `ether daddr ${service.ownMac}`} goto fresh`;
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

/** Of rows whose holders see no frames but copies: each goes up here and to all of them. */
function copyChains(service: ServiceEntry, holders: readonly MacAddress[]): string[] {
  const id = idsOf(holders);
  const served = 'meta l4proto . th dport != @ports goto refuse';
  const copies = [
    `  ${markSentOn} ether saddr set ${service.ownMac}`,
    ...holders.map((mac) => `  ether daddr set ${mac} dup to "${service.device}"`),
  ];
  const own = [
    `${laterFragment} goto copied_${id}`,
    `${opensConnection} goto fresh`,
    `meta l4proto tcp goto copied_${id}`,
    // A flow that stays elsewhere is one that a holder has kept.
    ...foreignRules(service, `passed_${id}`),
    'goto fresh',
  ];
  return [
    ...[`chain copy_${id} {`, `  meta mark set 0`, `  ${sentOn} goto permitted`],
    ...[`  ip frag-off & 0x1fff == 0 ${served}`, ...copies, '  goto permitted', '}'],
    `chain copied_${id} { ${fenced('hold', `copy_${id}`)}; goto refuse; }`,
    ...[`chain pass_${id} {`, '  meta mark set 0', `  ${sentOn} goto refuse`, `  ${served}`],
    ...[...copies, '  counter name relayed drop', '}'],
    `chain passed_${id} { ${fenced('lease', `pass_${id}`)}; goto refuse; }`,
    ...[`chain errors_${id} {`, `  ${sentOn} goto local`, ...copies, '  goto local', '}'],
    `chain own_to_${id} { ${own.join('; ')}; }`,
  ];
}

/** An error quotes the packet that it is about, which was sent to the client: its slot says who else may have the connection. Raw payload, in bits from the ICMP header. */
function errorChain({ partition }: ServiceEntry): string[] {
  return [
    'map error_copies { typeof @th,192,32 : verdict; }',
    `chain errors { @th,192,32 & 0x${partition.mask.value.toString(16)} vmap @error_copies; goto local; }`,
  ];
}

function idsOf(macs: readonly MacAddress[]): string {
  return macs.map(idOf).join('_');
}

function idOf(mac: MacAddress): string {
  return mac.replaceAll(':', '');
}

function macOf(id: string): MacAddress {
  return id.replace(/(..)(?!$)/g, '$1:');
}
