import type { Ledger } from '../wire/ledger.ts';
import { acceptedSlots } from './moves.ts';

/** What this agent's kernel accepts: the share of the newest committed ledger, while a lease lasts. */
export class Share {
  readonly #node: string;
  /** Slots accepted at some time, so that this host may hold flows of them. */
  readonly #touched: Set<number>;
  #acted: Ledger | null = null;
  #known: Ledger | null = null;
  #leaseUntil = Number.NEGATIVE_INFINITY;
  #granted = 0;
  #current = 0;
  #accepting: ReadonlySet<number> = new Set();
  #revision = 0;
  #confirmed = 0;
  #closed = false;
  /** The kernel is to be told, and flows to be ended, only when one of these changes. */
  #changed = true;

  /** `earlier` is the ledger of an earlier life, whose flows this host may still hold. */
  constructor(node: string, earlier: Ledger | null) {
    this.#node = node;
    this.#touched = earlier ? acceptedSlots(earlier, node) : new Set();
  }

  /** The ledger acted on; null before the first, and from the end of a lease until a coordinator names one anew. */
  get acted(): Ledger | null {
    return this.#acted;
  }

  /** The newest ledger ever acted on, for people. */
  get known(): Ledger | null {
    return this.#known;
  }

  get leaseUntil(): number {
    return this.#leaseUntil;
  }

  /** What the kernel was told to accept. */
  get accepting(): ReadonlySet<number> {
    return this.#accepting;
  }

  /** The kernel does what it was told last. */
  get confirmed(): boolean {
    return this.#confirmed === this.#revision;
  }

  /** The epoch whose share the kernel accepts; 0 for none. */
  get programmedEpoch(): number {
    return this.#acted && !this.#closed && this.confirmed ? this.#acted.epoch : 0;
  }

  /** The lease that was asked for with heartbeat `round` is granted. */
  extendLease(until: number, round: number): void {
    if (until <= this.#leaseUntil) return;
    this.#leaseUntil = until;
    this.#granted = round;
  }

  /**
   * The mark whose lease the kernel is to go by, or null when it does already. Never while the kernel holds other rows than it was told last: they
   * may be those of a lease that has ended.
   */
  takeGrant(now: number): number | null {
    if (this.#granted === this.#current || now >= this.#leaseUntil || !this.confirmed) return null;
    this.#current = this.#granted;
    return this.#current;
  }

  /** Ends acting on a ledger when the lease is over. */
  expire(now: number): void {
    if (this.#acted === null || now < this.#leaseUntil) return;
    this.#acted = null;
    this.#changed = true;
  }

  act(ledger: Ledger): void {
    this.#acted = ledger;
    this.#known = ledger;
    this.#changed = true;
  }

  /** Accepts nothing from now on, whatever the ledger says. */
  close(): void {
    this.#closed = true;
    this.#changed = true;
  }

  confirm(revision: number): void {
    this.#confirmed = Math.max(this.#confirmed, revision);
  }

  /**
   * What follows from a change since the last call: what the kernel is to be told, null when it was told already, and the
   * slots given away whose new owner's kernel accepts them, each named once, whose flows are to end. The very first call
   * tells the kernel in any case: an earlier life left something there.
   */
  takeChange(): { readonly program: Program | null; readonly resets: ReadonlySet<number> } {
    if (!this.#changed) return { program: null, resets: new Set() };
    this.#changed = false;
    return { program: this.#program(), resets: this.#resets() };
  }

  #program(): Program | null {
    const wanted = this.#acted && !this.#closed ? acceptedSlots(this.#acted, this.#node) : new Set<number>();
    if (this.#revision > 0 && sameSlots(wanted, this.#accepting)) return null;
    this.#accepting = wanted;
    for (const slot of wanted) this.#touched.add(slot);
    return { revision: ++this.#revision, slots: wanted };
  }

  #resets(): Set<number> {
    const given = new Set<number>();
    if (!this.#acted) return given;
    const moving = new Set(this.#acted.moves.flatMap((move) => move.slots));
    for (const slot of this.#touched) {
      const owner = this.#acted.owners[slot];
      if (owner !== this.#node && owner !== null && !moving.has(slot)) given.add(slot);
    }
    for (const slot of given) this.#touched.delete(slot);
    return given;
  }
}

interface Program {
  readonly revision: number;
  readonly slots: ReadonlySet<number>;
}

function sameSlots(a: ReadonlySet<number>, b: ReadonlySet<number>): boolean {
  if (a.size !== b.size) return false;
  for (const slot of a) if (!b.has(slot)) return false;
  return true;
}
