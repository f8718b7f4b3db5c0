import type { Rows } from '../dataplane/forwarding-table.ts';
import { decodeDrained, encodeDrained } from '../wire/control-message.ts';
import type { Holder, Ledger } from '../wire/ledger.ts';
import { drainingSlots } from './rows.ts';
import type { Timers } from './timers.ts';
import { partsOf } from './transfer.ts';

/** Of an agent's time, which its lease depends on, at most this part goes into looking for flows: a host that has very many looks less often. */
export const listShareMax = 0.05;

/** What a holder is to do now. */
export interface DrainingStep {
  /** Slots whose flows are to be listed, answered by `holding`. */
  readonly list: readonly number[];
  /** Slots whose flows end now: the handoff is `reset`, or the deadline has passed. */
  readonly end: readonly number[];
}

/** Slots that this host has given away, and whether it still holds flows of them. */
export class Draining {
  readonly #timers: Timers;
  /** When each slot began to drain here. */
  readonly #since = new Map<number, number>();
  /** Slots of which the last list had no flow, with the epoch known then. */
  #empty: { readonly seen: number; readonly slots: ReadonlySet<number> } = { seen: 0, slots: new Set() };
  #holding: ReadonlySet<number> = new Set();
  #listAt = Number.NEGATIVE_INFINITY;
  #rows: Rows = new Map();
  #draining: readonly number[] = [];
  #listing: { readonly seen: number; readonly slots: readonly number[]; readonly begin: number } | null = null;
  #sentAt = Number.NEGATIVE_INFINITY;
  #transfer = 0;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Slots of which the last list found flows. */
  get holding(): ReadonlySet<number> {
    return this.#holding;
  }

  /** The last list since the slot began to drain found no flow of it. */
  isDrained(slot: number): boolean {
    return this.#empty.slots.has(slot);
  }

  /** When `step` has something to do. */
  nextAt(): number {
    return this.#since.size === 0 || this.#listing ? Number.POSITIVE_INFINITY : this.#listAt;
  }

  step(known: Ledger, rows: Rows, isReset: boolean, deadlineMs: number, now: number): DrainingStep {
    if (rows !== this.#rows) this.#take(rows, isReset, now);
    const draining = this.#draining;
    if (draining.length === 0 || this.#listing || now < this.#listAt) return { list: [], end: [] };
    this.#listAt = now + this.#timers.listMs;
    const age = (slot: number) => now - (this.#since.get(slot) ?? now);
    const end = draining.filter((slot) => isReset || age(slot) >= deadlineMs);
    // A SYN-ACK may still be answered for which, with SYN cookies, nothing stands in any list.
    const list = draining.filter((slot) => age(slot) >= this.#timers.halfOpenMs);
    if (list.length > 0) this.#listing = { seen: known.epoch, slots: list, begin: now };
    return { list, end };
  }

  #take(rows: Rows, isReset: boolean, now: number): void {
    this.#rows = rows;
    // While a peer relays to it, a slot has not begun to drain.
    this.#draining = drainingSlots(rows).filter((slot) => rows.get(slot)?.peer === null);
    const present = new Set(this.#draining);
    for (const slot of this.#since.keys()) if (!present.has(slot)) this.#since.delete(slot);
    const begun = this.#draining.filter((slot) => !this.#since.has(slot));
    const empty = new Set(this.#empty.slots);
    for (const slot of begun) {
      this.#since.set(slot, now);
      // What an earlier time of draining came to says nothing of this one.
      empty.delete(slot);
    }
    this.#empty = { ...this.#empty, slots: empty };
    if (begun.length > 0 && isReset) this.#listAt = now;
  }

  /** The answer to the last list: the slots among it of which there are flows. */
  note(holding: ReadonlySet<number>, now: number): void {
    if (!this.#listing) return;
    const { seen, slots, begin } = this.#listing;
    this.#listAt = Math.max(this.#listAt, begin + (now - begin) / listShareMax);
    this.#listing = null;
    this.#holding = holding;
    this.#empty = { seen, slots: new Set(slots.filter((slot) => !holding.has(slot))) };
    this.#sentAt = Number.NEGATIVE_INFINITY;
  }

  /** The report as long as the ledger names this host a holder of what it says; null when there is nothing to say. */
  report(known: Ledger, node: string): Uint8Array | null {
    const { seen, slots } = this.#empty;
    if (slots.size === 0) return null;
    const named = new Set(
      known.holders.flatMap((holder) => (holder.name === node && holder.since <= seen ? holder.slots : [])),
    );
    const news = [...slots].filter((slot) => named.has(slot));
    return news.length > 0 ? encodeDrained({ seen, slots: news }) : null;
  }

  /** The bodies that tell the coordinator; not before they are due. */
  toSend(known: Ledger, node: string, now: number): Uint8Array[] {
    if (now < this.#sentAt + this.#timers.resendMs) return [];
    const report = this.report(known, node);
    if (!report) return [];
    this.#sentAt = now;
    return partsOf('drained', ++this.#transfer, report);
  }
}

/** Which holders have no flow any more, by what a coordinator is told; and how long they have been holders. */
export class Drained {
  readonly #reports = new Map<string, { readonly seen: number; readonly slots: ReadonlySet<number> }>();
  readonly #firstSeen = new Map<string, number>();

  /** False when the bytes are no report. */
  offer(sender: string, encoded: Uint8Array): boolean {
    const report = decodeDrained(encoded);
    if (!report.ok) return false;
    this.#reports.set(sender, { seen: report.value.seen, slots: new Set(report.value.slots) });
    return true;
  }

  /** Its own report says so, and was made when it had given the slot away already. */
  reported({ name, since }: Holder, slot: number): boolean {
    const report = this.#reports.get(name);
    return report !== undefined && report.seen >= since && report.slots.has(slot);
  }

  /** How long a holder's flows may last still, as far as this agent has seen when it became one; milliseconds, negative when it is overdue. */
  msLeft(holder: Holder, deadlineMs: number, now: number): number {
    return (this.#firstSeen.get(keyOf(holder)) ?? now) + deadlineMs - now;
  }

  /** Takes notice of the holders that a ledger names, and forgets those that it does not. */
  note(holders: readonly Holder[], now: number): void {
    const keys = new Set(holders.map(keyOf));
    for (const key of keys) if (!this.#firstSeen.has(key)) this.#firstSeen.set(key, now);
    for (const key of this.#firstSeen.keys()) if (!keys.has(key)) this.#firstSeen.delete(key);
    for (const name of this.#reports.keys())
      if (!holders.some((holder) => holder.name === name)) this.#reports.delete(name);
  }
}

function keyOf({ name, boot, since }: Holder): string {
  return `${name} ${boot} ${since}`;
}
