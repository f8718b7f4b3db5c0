import type { Holder } from '../wire/ledger.ts';
import type { Membership } from './membership.ts';
import type { Timers } from './timers.ts';

/**
 * At a coordinator: whether the hosts of silent holders are there. An agent's silence says nothing about its host, whose kernel may go on serving the
 * connections it has; a host that answers nobody on the segment serves none.
 */
export class Probing {
  readonly #membership: Membership;
  readonly #timers: Timers;
  /** By silent holder: when it was asked first, and when it answered last. */
  readonly #asked = new Map<string, { readonly first: number; readonly answered: number }>();
  #askAt = Number.NEGATIVE_INFINITY;

  constructor(membership: Membership, timers: Timers) {
    this.#membership = membership;
    this.#timers = timers;
  }

  /** Whom to ask now. */
  step(holders: readonly Holder[], now: number): readonly string[] {
    if (holders.length === 0 && this.#asked.size === 0) return [];
    const silent = new Set(holders.map(({ name }) => name).filter((name) => this.#isSilent(name, now)));
    for (const name of this.#asked.keys()) if (!silent.has(name)) this.#asked.delete(name);
    for (const name of silent) {
      if (!this.#asked.has(name)) this.#asked.set(name, { first: now, answered: Number.NEGATIVE_INFINITY });
    }
    if (silent.size === 0 || now < this.#askAt) return [];
    this.#askAt = now + this.#timers.probeMs;
    return [...silent];
  }

  /** Somebody else coordinates: who did not answer long ago may have answered since. */
  clear(): void {
    this.#asked.clear();
    this.#askAt = Number.NEGATIVE_INFINITY;
  }

  /** The host of `peer` answered. */
  note(peer: string, now: number): void {
    const asked = this.#asked.get(peer);
    if (asked) this.#asked.set(peer, { ...asked, answered: now });
  }

  /** `session` is the newest life of its agent that the ledger knows of: what is heard of an earlier one is a recording. */
  isGone({ name, boot }: Holder, session: number, now: number): boolean {
    const said = this.#membership.session(name) >= session ? this.#membership.newest(name) : null;
    if (said && !this.#isSilent(name, now)) return said.boot !== boot;
    const asked = this.#asked.get(name);
    return asked !== undefined && now - Math.max(asked.first, asked.answered) >= this.#timers.goneMs;
  }

  #isSilent(name: string, now: number): boolean {
    return this.#membership.others.includes(name) && !this.#membership.heard(name, now);
  }
}
