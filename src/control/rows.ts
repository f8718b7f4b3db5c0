import { newRow, ownRow, type Row, type Rows, sameRow } from '../dataplane/forwarding-table.ts';
import type { Ledger } from '../wire/ledger.ts';

/** The host whose rows are asked for. */
export interface ThisHost {
  readonly node: string;
  /** Another life of the machine than the one a holder is named by holds nothing. */
  readonly boot: number;
}

/**
 * What the kernel of one host does under `ledger`, slot by slot. Over all hosts and at any time between two committed ledgers at most one takes the new
 * connections of a slot: the old owner, later those alone that the new one relays to it, then the new owner. `isStillSent` says that routers send packets of slots here alone that
 * this host is leaving: it takes them until they do no more.
 */
export function rowsOf(ledger: Ledger, { node, boot }: ThisHost, isStillSent = false): Rows {
  const rows = new Map<number, Row>();
  const held = new Set(ledger.holders.flatMap(({ slots }) => slots));
  for (const { name, boot: heldBy, slots } of ledger.holders) {
    if (name === node && heldBy === boot) for (const slot of slots) rows.set(slot, { kind: 'old', peer: null });
  }
  for (const [slot, owner] of ledger.owners.entries()) {
    if (owner === node) rows.set(slot, held.has(slot) ? newRow : ownRow);
  }
  const macs = new Map(ledger.hosts.map(({ name, mac }) => [name, mac]));
  for (const { phase, from, to, slots } of ledger.moves) {
    const fromMac = macs.get(from) ?? null;
    const toMac = macs.get(to) ?? null;
    for (const slot of slots) {
      if (to === node && phase !== 'owned') rows.set(slot, { kind: fromMac ? 'relay' : 'old', peer: fromMac });
      if (from === node && phase === 'leave' && !isStillSent) rows.set(slot, { kind: 'old', peer: toMac });
      // Until the new owner's kernel has confirmed, it may still relay.
      if (from === node && phase === 'owned' && rows.has(slot)) rows.set(slot, { kind: 'old', peer: toMac });
    }
  }
  return rows;
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
