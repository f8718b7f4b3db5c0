import type { MacAddress } from '../base/mac.ts';
import { holdersMax, newRow, ownRow, type Row, type Rows, sameRow } from '../dataplane/forwarding-table.ts';
import type { Ledger, Move } from '../wire/ledger.ts';

/** The host whose rows are asked for. */
export interface ThisHost {
  readonly node: string;
  /** Another life of the machine than the one a holder is named by holds nothing. */
  readonly boot: number;
  /** Frames of its slots reach this host alone: rows name the holders, which need copies. Absent: every host sees every frame. */
  readonly copies?: boolean;
}

/** Whether routers send packets of `slot` here alone still, which this host leaves by `move`. */
export type StillSent = (move: Move, slot: number) => boolean;

/**
 * What the kernel of one host does under `ledger`, slot by slot. Over all hosts and at any time between two committed ledgers at most one takes the new
 * connections of a slot: the old owner, later those alone that the new one relays to it, then the new owner. What is `isStillSent` here it takes until it is no more.
 */
export function rowsOf(ledger: Ledger, host: ThisHost, isStillSent: StillSent = () => host.copies ?? false): Rows {
  const { node, boot } = host;
  const rows = new Map<number, Row>();
  const held = new Set(ledger.holders.flatMap(({ slots }) => slots));
  for (const { name, boot: heldBy, slots } of ledger.holders) {
    if (name === node && heldBy === boot) for (const slot of slots) rows.set(slot, { kind: 'old', peer: null });
  }
  for (const [slot, owner] of ledger.owners.entries()) {
    if (owner === node) rows.set(slot, held.has(slot) ? newRow : ownRow);
  }
  const macs = new Map(ledger.hosts.map(({ name, mac }) => [name, mac]));
  for (const move of ledger.moves) {
    const { phase, from, to } = move;
    const fromMac = macs.get(from) ?? null;
    const toMac = macs.get(to) ?? null;
    for (const slot of move.slots) {
      if (to === node && phase !== 'owned') rows.set(slot, { kind: fromMac ? 'relay' : 'old', peer: fromMac });
      if (from === node && phase === 'leave' && !isStillSent(move, slot)) rows.set(slot, { kind: 'old', peer: toMac });
      // Until the new owner's kernel has confirmed, it may still relay.
      if (from === node && phase === 'owned' && rows.has(slot)) rows.set(slot, { kind: 'old', peer: toMac });
    }
  }
  return host.copies ? withHolders(rows, ledger, node, isStillSent) : rows;
}

/**
 * Rows that are new or arriving name who else may hold connections: the holders, and the owner that is still to leave. Who is leaving takes all that is sent here still, and withholds
 * resets, as connections may have come to the new owner by then.
 */
function withHolders(rows: Map<number, Row>, ledger: Ledger, node: string, isStillSent: StillSent): Rows {
  for (const move of leavingFrom(node, ledger)) {
    for (const slot of move.slots) if (isStillSent(move, slot)) rows.set(slot, newRow);
  }
  const macs = new Map(ledger.hosts.map(({ name, mac }) => [name, mac]));
  const held = new Map<number, Set<MacAddress>>();
  for (const { name, slots } of ledger.holders) {
    const mac = macs.get(name);
    if (name === node || mac === undefined) continue;
    for (const slot of slots) held.set(slot, (held.get(slot) ?? new Set()).add(mac));
  }
  for (const [slot, row] of rows) {
    if (row.kind !== 'new' && row.kind !== 'relay') continue;
    const all = new Set([...(held.get(slot) ?? []), ...(row.peer === null ? [] : [row.peer])]);
    if (all.size > 0) rows.set(slot, { ...row, holders: [...all].sort().slice(0, holdersMax) });
  }
  return rows;
}

/** Moves by which `node` leaves slots. */
export function leavingFrom(node: string, { moves }: Ledger): readonly Move[] {
  return moves.filter(({ from, phase }) => from === node && phase === 'leave');
}

/** Slots of which this host may hold flows without owning them, ascending. */
export function drainingSlots(rows: Rows): number[] {
  return [...rows].flatMap(([slot, { kind }]) => (kind === 'old' ? [slot] : [])).sort((a, b) => a - b);
}

export function sameRows(a: Rows, b: Rows): boolean {
  if (a.size !== b.size) return false;
  for (const [slot, row] of a) if (!sameRow(row, b.get(slot))) return false;
  return true;
}
