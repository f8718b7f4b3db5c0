import type { Rows } from '../dataplane/forwarding-table.ts';
import { noSlots } from '../dataplane/staying.ts';
import type { Ledger } from '../wire/ledger.ts';
import type { Membership } from './membership.ts';
import type { Timers } from './timers.ts';

interface Arrival {
  /** The epoch that brought the slot here, and when it was acted on. */
  readonly epoch: number;
  readonly at: number;
  /** Who held flows of it before, its last owner apart, which has given it away only when this host knew what stays there. */
  readonly holders: readonly string[];
  /** This life of the agent has known no map before it: what it had answered to is forgotten. */
  readonly isFirst: boolean;
}

/**
 * Slots that came here while others than their last owner hold flows of them. Such a holder goes on with UDP flows until it learns of the new owner, unless that has answered for them;
 * so their datagrams are taken only when its kernel has followed, or when no lease under an older map can last.
 */
export class Opening {
  readonly #node: string;
  readonly #membership: Membership;
  readonly #timers: Timers;
  readonly #arrivals = new Map<number, Arrival>();
  #shut: ReadonlySet<number> = noSlots;
  #ledger: Ledger | null = null;
  #rows: Rows;

  /** `rows` and what was `shut` are those of an earlier life. */
  constructor(node: string, membership: Membership, timers: Timers, rows: Rows, shut: ReadonlySet<number>) {
    this.#node = node;
    this.#membership = membership;
    this.#timers = timers;
    this.#rows = rows;
    this.#shut = shut;
  }

  /** Slots of which no datagram is taken yet, but of flows that stay here. */
  get shut(): ReadonlySet<number> {
    return this.#shut;
  }

  follow(ledger: Ledger, rows: Rows, hasSaid: (holder: string, slot: number) => boolean, now: number): void {
    if (rows !== this.#rows || this.#ledger === null) this.#arrive(ledger, rows, now);
    if (this.#arrivals.size === 0 && this.#shut.size === 0) return;
    const isHeld = (slot: number, name: string): boolean =>
      ledger.holders.some((holder) => holder.name === name && holder.slots.includes(slot));
    for (const [slot, { epoch, at, holders, isFirst }] of this.#arrivals) {
      const follows = (name: string): boolean =>
        (this.#membership.newest(name)?.programmed ?? 0) >= epoch && (!isFirst || hasSaid(name, slot));
      const isOver = now >= at + this.#timers.deadMs;
      const isOpen = isOver || holders.every((name) => follows(name) || !isHeld(slot, name));
      if (isOpen || rows.get(slot)?.kind !== 'new') this.#arrivals.delete(slot);
    }
    if (this.#arrivals.size !== this.#shut.size || [...this.#shut].some((slot) => !this.#arrivals.has(slot)))
      this.#shut = new Set(this.#arrivals.keys());
  }

  #arrive(ledger: Ledger, rows: Rows, now: number): void {
    const from = new Map(ledger.moves.flatMap((move) => move.slots.map((slot) => [slot, move.from] as const)));
    const held = new Map<number, string[]>();
    for (const { name, slots } of ledger.holders)
      for (const slot of slots) held.set(slot, [...(held.get(slot) ?? []), name]);
    const isFirst = this.#ledger === null;
    for (const [slot, { kind }] of rows) {
      if (kind !== 'new' || (isTaken(this.#rows, slot) && !(isFirst && this.#shut.has(slot)))) continue;
      const holders = (held.get(slot) ?? []).filter(
        (name) => name !== this.#node && (isFirst || name !== from.get(slot)),
      );
      if (holders.length > 0) this.#arrivals.set(slot, { epoch: ledger.epoch, at: now, holders, isFirst });
    }
    this.#rows = rows;
    this.#ledger = ledger;
  }
}

function isTaken(rows: Rows, slot: number): boolean {
  const kind = rows.get(slot)?.kind;
  return kind === 'own' || kind === 'new';
}
