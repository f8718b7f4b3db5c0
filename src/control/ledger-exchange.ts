import { compareVersions, encodeLedger, type Ledger } from '../wire/ledger.ts';
import type { Following } from './following.ts';
import type { ControlOutput } from './io.ts';
import type { Membership } from './membership.ts';
import type { Timers } from './timers.ts';
import { partsOf } from './transfer.ts';

type Send = ControlOutput & { readonly kind: 'send' };

/** Sends the ledger held to those who lack it: from the coordinator to everybody, from a supporter to a coordinator that is behind. */
export class LedgerExchange {
  readonly #node: string;
  readonly #membership: Membership;
  readonly #following: Following;
  readonly #timers: Timers;
  readonly #sentAt = new Map<string, number>();
  #announced: Ledger | null = null;
  #encoded: Ledger | null = null;
  #bodies: readonly Uint8Array[] = [];
  #transfer = 0;

  constructor(node: string, membership: Membership, following: Following, timers: Timers) {
    this.#node = node;
    this.#membership = membership;
    this.#following = following;
    this.#timers = timers;
  }

  step(held: Ledger | null, now: number): Send[] {
    if (!held) return [];
    const news = held !== this.#announced && this.#following.name === this.#node && held.term === this.#following.term;
    return news ? this.#toAll(held, now) : this.#toThoseBehind(held, now);
  }

  /** The first time by multicast, and by unicast to those it does not reach. */
  #toAll(held: Ledger, now: number): Send[] {
    const bodies = this.#bodiesOf(held);
    this.#announced = held;
    const unreached = this.#membership.unreachedByMulticast(now).filter((peer) => this.#membership.heard(peer, now));
    for (const peer of this.#membership.others) this.#sentAt.set(peer, now);
    return (['group', ...unreached.map((peer) => ({ peer }))] as const).flatMap((to) =>
      bodies.map((body): Send => ({ kind: 'send', to, body })),
    );
  }

  #toThoseBehind(held: Ledger, now: number): Send[] {
    const sends: Send[] = [];
    for (const peer of this.#candidates(held)) {
      const said = this.#membership.newest(peer);
      if (!said || !this.#membership.heard(peer, now) || compareVersions(said.held, held) >= 0) continue;
      if (now < (this.#sentAt.get(peer) ?? Number.NEGATIVE_INFINITY) + this.#timers.resendMs) continue;
      this.#sentAt.set(peer, now);
      for (const body of this.#bodiesOf(held)) sends.push({ kind: 'send', to: { peer }, body });
    }
    return sends;
  }

  #candidates(held: Ledger): readonly string[] {
    const { name, term } = this.#following;
    if (name === null) return [];
    if (name !== this.#node) return [name];
    return held.term === term ? this.#membership.others : [];
  }

  #bodiesOf(held: Ledger): readonly Uint8Array[] {
    if (held !== this.#encoded) {
      this.#bodies = partsOf('ledger', ++this.#transfer, encodeLedger(held));
      this.#encoded = held;
    }
    return this.#bodies;
  }
}
