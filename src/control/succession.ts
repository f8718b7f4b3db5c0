import type { Ledger } from '../wire/ledger.ts';
import type { Following } from './following.ts';
import type { Membership } from './membership.ts';
import type { Timers } from './timers.ts';
import type { Voters } from './voters.ts';

export interface SuccessionConfig {
  readonly node: string;
  readonly voters: Voters;
  readonly membership: Membership;
  readonly following: Following;
  readonly timers: Timers;
}

/**
 * At a new coordinator: until when leases from before its term may last. In general that is unknown: it waits for as long as a lease can last, and `takeoverMs` is that. Of the coordinator before it, when there was
 * none between the two, more is known. That one gave itself leases from heartbeats that a majority of the voters answered; among the majority that supports this agent is one of those; and when all of these say that
 * they have heard nothing of it for `silenceMs`, then so old is the newest heartbeat of it that its lease may count from.
 */
export class Succession {
  readonly #config: SuccessionConfig;
  #before: { readonly name: string; readonly term: number; readonly seenAt: number } | null = null;

  constructor(config: SuccessionConfig) {
    this.#config = config;
  }

  /** This agent coordinates, and `adopted` is the newest ledger that there is: what it knows now of who wrote that. */
  note(adopted: Pick<Ledger, 'by' | 'term'>, now: number): void {
    const { node, following, voters } = this.#config;
    const { by: name, term } = adopted;
    const isNext = name !== node && following.term === term + 1;
    this.#before = isNext && this.#unheardBy(name, now) >= voters.majority ? { name, term, seenAt: now } : null;
  }

  /** From when on no lease of `name` lasts that it was granted in an earlier term, or by itself. */
  leasesOverAt(name: string): number {
    const { following, timers } = this.#config;
    const isBefore = this.#before?.name === name && this.#before.term + 1 === following.term;
    return isBefore && this.#before
      ? this.#before.seenAt - timers.silenceMs + timers.deadMs
      : following.authoritySince + timers.takeoverMs;
  }

  /** How many voters that support this agent have not heard `name` for `silenceMs`, itself among them. */
  #unheardBy(name: string, now: number): number {
    const { node, voters, membership, following } = this.#config;
    const hears = (heard: readonly { readonly name: string }[]) => heard.some((each) => each.name === name);
    const others = voters.others().filter((voter) => {
      const said = membership.newest(voter);
      return said?.follow === node && said.term === following.term && !hears(said.heard);
    });
    return others.length + (voters.isVoter && !hears(membership.heardList(now)) ? 1 : 0);
  }
}
