import { type Owner, sameOwner } from './claims.ts';
import type { Owners } from './memberships.ts';

/**
 * The owners of slots as a router's kernel has them. When a slot changes hands one member's join gives it up and another's takes it, in either order, and the other's may
 * not count: a slot that nobody claims goes on to its last owner for as long as that is known, and a while longer. Its own kernel decides what it takes.
 */
export class StandingOwners {
  readonly #keepMs: number;
  #claimed: Owners = new Map();
  /** Of slots that nobody claims. */
  readonly #kept = new Map<number, { readonly owner: Owner; untilMs: number }>();

  /** `standing` are owners that an earlier process has left in the kernel, which stand until `untilMs` or somebody claims their slots. */
  constructor(keepMs: number, standing: Owners, untilMs: number) {
    this.#keepMs = keepMs;
    for (const [slot, owner] of standing) this.#kept.set(slot, { owner, untilMs });
  }

  /** When `owners` is to be asked again, if nothing is claimed before. */
  get nextMs(): number {
    let next = Infinity;
    for (const { untilMs } of this.#kept.values()) next = Math.min(next, untilMs);
    return next;
  }

  claim(claimed: Owners, nowMs: number): void {
    for (const [slot, owner] of this.#claimed) {
      if (!claimed.has(slot)) this.#kept.set(slot, { owner, untilMs: nowMs + this.#keepMs });
    }
    for (const slot of claimed.keys()) this.#kept.delete(slot);
    this.#claimed = claimed;
  }

  /** Nothing is kept for `owner` from now on. */
  forget(owner: Owner): void {
    for (const [slot, kept] of this.#kept) if (sameOwner(kept.owner, owner)) this.#kept.delete(slot);
  }

  /** `known` are all that joins were heard of, also those who own nothing. */
  owners(nowMs: number, known: Iterable<Owner>): Owners {
    const members = [...known];
    for (const [slot, kept] of this.#kept) {
      if (nowMs < kept.untilMs) continue;
      if (members.some((member) => sameOwner(member, kept.owner))) kept.untilMs = nowMs + this.#keepMs;
      else this.#kept.delete(slot);
    }
    if (this.#kept.size === 0) return this.#claimed;
    return new Map([...[...this.#kept].map(([slot, { owner }]) => [slot, owner] as const), ...this.#claimed]);
  }
}
