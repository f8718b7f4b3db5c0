import { flowKey } from '../base/tcp-flow.ts';
import type { Rows } from '../dataplane/forwarding-table.ts';
import { noSlots, type UdpFlow } from '../dataplane/staying.ts';
import { type Partition, slotOf } from '../space/partition.ts';
import { keptMax } from '../wire/kept-flows.ts';
import type { Ledger } from '../wire/ledger.ts';
import type { Timers } from './timers.ts';

/** A flow that stays here, with its slot. */
export type KeptFlow = UdpFlow & { readonly slot: number };
export type KeptFlows = ReadonlyMap<string, KeptFlow>;

/** Whether `peer` has answered that its kernel leaves alone what this host keeps of `slot`. */
export type Knows = (peer: string, slot: number) => boolean;

/**
 * The UDP flows of slots that this host gives away, and goes on with. They are those that its kernel has seen, read before the slot's row changes, so that no datagram is
 * lost, and again when it has changed, so that none is missing. They stay only while the slot's owner is one that has answered for them; and while the lease lasts without a gap, because
 * nobody asks a host without a lease before it gives its slots to others.
 */
export class Keeping {
  readonly #node: string;
  readonly #partition: Partition;
  readonly #timers: Timers;
  readonly #idleMs: number;
  /** Slots given away, and whether what was seen of them has been read since. */
  readonly #slots = new Map<number, 'unread' | 'reading' | 'read'>();
  #kept: KeptFlows = new Map();
  /** What was seen of slots that are about to be given away. */
  #early: readonly KeptFlow[] = [];
  #about: ReadonlySet<number> = new Set();
  #readEarly: ReadonlySet<number> = new Set();
  #ledger: Ledger | null = null;
  #rows: Rows;
  #shut: ReadonlySet<number> = noSlots;
  /** Slots in phase `leave`, and who takes them. */
  #leaving: ReadonlyMap<number, string> = new Map();
  #isAsked = false;
  /** Grows whenever anything changes. */
  #version = 0;
  #askAt = Number.NEGATIVE_INFINITY;
  #waitingSince: number | null = null;

  constructor(node: string, partition: Partition, timers: Timers, idleMs: number, rows: Rows) {
    this.#node = node;
    this.#partition = partition;
    this.#timers = timers;
    this.#idleMs = idleMs;
    this.#rows = rows;
  }

  get flows(): KeptFlows {
    return this.#kept;
  }

  /** Another whenever anything of this has changed. */
  get version(): number {
    return this.#version;
  }

  /** Slots of which is known what stays. */
  get readSlots(): number[] {
    return [...this.#slots].flatMap(([slot, state]) => (state === 'read' ? [slot] : []));
  }

  /** Takes notice of the map, and of the rows that follow from it. Where `keeps` is false nothing stays from now on. */
  follow(ledger: Ledger, rows: Rows, shut: ReadonlySet<number>, keeps: boolean, knows: Knows): void {
    if (ledger === this.#ledger && rows === this.#rows && shut === this.#shut) {
      if (!keeps) this.forget();
      return;
    }
    const moves = ledger.moves.filter(({ from, phase }) => from === this.#node && phase !== 'owned');
    const isTaken = (of: Rows, slot: number): boolean => of.get(slot)?.kind === 'own' || of.get(slot)?.kind === 'new';
    for (const slot of this.#slots.keys()) if (!isGivenAway(rows, slot) && !shut.has(slot)) this.#slots.delete(slot);
    const begun = [...rows.keys()].filter(
      (slot) => rows.get(slot)?.kind === 'old' && (!this.#slots.has(slot) || isTaken(this.#rows, slot)),
    );
    const left = new Set(moves.flatMap(({ phase, slots }) => (phase === 'leave' ? slots : [])));
    for (const slot of begun)
      this.#slots.set(slot, keeps && left.has(slot) && isTaken(this.#rows, slot) ? 'unread' : 'read');
    const owns = (slot: number): boolean => ledger.owners[slot] === this.#node;
    const isOurs = ({ slot }: KeptFlow): boolean =>
      this.#slots.has(slot) && (owns(slot) || knows(ledger.owners[slot] ?? '', slot));
    const early = this.#early.filter(({ slot }) => this.#slots.get(slot) === 'unread' && begun.includes(slot));
    this.#set([...[...this.#kept.values()].filter(isOurs), ...early]);
    this.#about = new Set(keeps ? moves.flatMap(({ slots }) => slots.filter((slot) => isTaken(rows, slot))) : []);
    this.#early = this.#early.filter(({ slot }) => this.#about.has(slot));
    this.#leaving = new Map(
      moves.flatMap(({ phase, to, slots }) => (phase === 'leave' ? slots.map((slot) => [slot, to] as const) : [])),
    );
    this.#ledger = ledger;
    this.#rows = rows;
    this.#shut = shut;
    this.#version++;
    if (!keeps) this.forget();
  }

  /** True when the kernel is to be asked now what it has seen. `confirmed`: it has the rows that are wanted. */
  asks(confirmed: boolean, now: number): boolean {
    if (this.#isAsked) return false;
    const unread = [...this.#slots].flatMap(([slot, state]) => (state === 'unread' ? [slot] : []));
    const isEarly = [...this.#about].some((slot) => !this.#readEarly.has(slot));
    const isDue = this.#kept.size > 0 && now >= this.#askAt;
    if (!isEarly && !(confirmed && (unread.length > 0 || isDue))) return false;
    this.#isAsked = true;
    if (confirmed) for (const slot of unread) this.#slots.set(slot, 'reading');
    this.#readEarly = this.#about;
    this.#askAt = now + Math.max(this.#timers.listMs, this.#idleMs / 10);
    return true;
  }

  /** What the kernel has seen, null when it cannot tell. Returns how many flows follow their slots because they are too many. */
  note(seen: readonly UdpFlow[] | null, staysElsewhere: (key: string) => boolean): number {
    this.#isAsked = false;
    this.#version++;
    const reading = new Set([...this.#slots].flatMap(([slot, state]) => (state === 'reading' ? [slot] : [])));
    for (const slot of reading) this.#slots.set(slot, 'read');
    const flows = (seen ?? []).map((flow) => ({ ...flow, slot: slotOf(this.#partition, flow.client) }));
    this.#early = flows.filter((flow) => this.#about.has(flow.slot) && !staysElsewhere(flowKey(flow)));
    const unread = [...this.#kept.values()].filter(({ slot }) => this.#slots.get(slot) === 'unread');
    // What stays elsewhere was seen here before that.
    const read = flows.filter((flow) => {
      if (this.#slots.get(flow.slot) !== 'read') return false;
      const key = flowKey(flow);
      return reading.has(flow.slot) ? !staysElsewhere(key) : this.#kept.has(key);
    });
    const unknown = seen === null ? [...this.#kept.values()].filter(({ slot }) => !reading.has(slot)) : [];
    return this.#set([...unread, ...unknown, ...read]);
  }

  /** Whether a slot is being left of which the new owner does not know yet what stays. */
  isWaiting(knows: Knows): boolean {
    return this.#unknown(knows).length > 0;
  }

  /** The flows that follow their slots from now on, because nobody has answered for them in time. */
  giveUp(knows: Knows, now: number): readonly KeptFlow[] {
    const unknown = new Set(this.#unknown(knows));
    this.#waitingSince = unknown.size > 0 ? (this.#waitingSince ?? now) : null;
    if (this.#waitingSince === null || now < this.#waitingSince + this.#timers.staysMs) return [];
    this.#waitingSince = null;
    this.#markRead(unknown);
    return this.end(unknown);
  }

  /** Nothing stays of these slots. Returns what did. */
  end(slots: ReadonlySet<number>): readonly KeptFlow[] {
    const ended = [...this.#kept.values()].filter(({ slot }) => slots.has(slot));
    if (ended.length > 0) this.#set([...this.#kept.values()].filter(({ slot }) => !slots.has(slot)));
    return ended;
  }

  /** Nothing stays at all. */
  forget(): void {
    this.#markRead(this.#slots.keys());
    this.#early = [];
    if (this.#kept.size > 0) this.#set([]);
  }

  #markRead(slots: Iterable<number>): void {
    for (const slot of slots) {
      if (this.#slots.get(slot) !== 'read') this.#version++;
      this.#slots.set(slot, 'read');
    }
  }

  #unknown(knows: Knows): number[] {
    if (this.#leaving.size === 0) return [];
    const kept = slotsOf(this.#kept);
    return [...this.#leaving].flatMap(([slot, to]) => {
      const state = this.#slots.get(slot);
      const isKnown = state === undefined || (state === 'read' && (!kept.has(slot) || knows(to, slot)));
      return isKnown ? [] : [slot];
    });
  }

  #set(flows: readonly KeptFlow[]): number {
    const keyed = flows.map((flow) => [flowKey(flow), flow] as const);
    const next = new Map(keyed.map(([key, flow]) => [key, this.#kept.get(key) ?? flow]));
    const excess = [...next.keys()].slice(keptMax);
    for (const key of excess) next.delete(key);
    const isSame = next.size === this.#kept.size && [...next.keys()].every((key) => this.#kept.has(key));
    if (!isSame) this.#kept = next;
    if (!isSame) this.#version++;
    return excess.length;
  }
}

export function slotsOf(flows: KeptFlows): Set<number> {
  return new Set([...flows.values()].map(({ slot }) => slot));
}

function isGivenAway(rows: Rows, slot: number): boolean {
  const kind = rows.get(slot)?.kind;
  return kind === 'old' || kind === 'relay';
}
