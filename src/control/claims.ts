import { type Claim, decodeClaim, encodeClaim } from '../wire/control-message.ts';
import type { Ledger } from '../wire/ledger.ts';
import type { ThisHost } from './rows.ts';
import type { Timers } from './timers.ts';
import { partsOf } from './transfer.ts';

/**
 * Slots of which this host may hold flows although the ledger names it neither owner nor holder of them: it was taken for gone. It asks to be named until it is;
 * what nobody names it a holder of is nobody's.
 */
export class Claims {
  readonly #host: ThisHost;
  readonly #timers: Timers;
  /** When each was said first; Infinity before. */
  readonly #wanted = new Map<number, number>();
  #sentAt = Number.NEGATIVE_INFINITY;
  #transfer = 0;

  constructor(host: ThisHost, timers: Timers) {
    this.#host = host;
    this.#timers = timers;
  }

  add(slots: Iterable<number>): void {
    for (const slot of slots) {
      if (this.#wanted.has(slot)) continue;
      this.#wanted.set(slot, Number.POSITIVE_INFINITY);
      this.#sentAt = Number.NEGATIVE_INFINITY;
    }
  }

  /** Forgets what `known` says already. The slots that are given up: nobody has made this host a holder in time. */
  step(known: Ledger, now: number): number[] {
    if (this.#wanted.size === 0) return [];
    const { node, boot } = this.#host;
    for (const holder of known.holders) {
      if (holder.name === node && holder.boot === boot) for (const slot of holder.slots) this.#wanted.delete(slot);
    }
    for (const slot of this.#wanted.keys()) if (known.owners[slot] === node) this.#wanted.delete(slot);
    const late = [...this.#wanted].filter(([, saidAt]) => now >= saidAt + this.#timers.claimMs).map(([slot]) => slot);
    for (const slot of late) this.#wanted.delete(slot);
    return late;
  }

  /** At a coordinator: its own. Null when there is none. */
  own(now: number): Uint8Array | null {
    if (this.#wanted.size === 0) return null;
    for (const [slot, saidAt] of this.#wanted) if (saidAt > now) this.#wanted.set(slot, now);
    const slots = [...this.#wanted.keys()].sort((a, b) => a - b);
    return encodeClaim({ boot: this.#host.boot, slots });
  }

  /** The bodies that tell the coordinator; not before they are due. */
  toSend(now: number): Uint8Array[] {
    if (now < this.#sentAt + this.#timers.resendMs) return [];
    const claim = this.own(now);
    if (!claim) return [];
    this.#sentAt = now;
    return partsOf('claim', ++this.#transfer, claim);
  }
}

/** At a coordinator: what hosts claim to hold. */
export class Claimed {
  readonly #claims = new Map<string, Claim>();

  /** False when the bytes are no claim to slots that there are. */
  offer(sender: string, encoded: Uint8Array, slotCount: number): boolean {
    const claim = decodeClaim(encoded);
    if (!claim.ok || claim.value.slots.some((slot) => slot >= slotCount)) return false;
    this.#claims.set(sender, claim.value);
    return true;
  }

  /** Each is looked at once: who is not heard, or not named because of it, says it again. */
  take(): (Claim & { readonly name: string })[] {
    const claims = [...this.#claims].map(([name, claim]) => ({ name, ...claim }));
    this.#claims.clear();
    return claims;
  }
}
