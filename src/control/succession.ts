import type { Heartbeat } from '../wire/control-message.ts';
import type { Ledger, Voter } from '../wire/ledger.ts';
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

/** What is looked at of a ledger. */
export type Adopted = Pick<Ledger, 'by' | 'term' | 'voters' | 'formerVoters'>;

/**
 * At a new coordinator: until when leases from before its term may last. In general that is unknown: it waits for as long as a lease can last, and `takeoverMs` is that. Of the coordinator before it, when there was
 * none between the two, more is known. That one gave itself leases from heartbeats that a majority of the voters answered. Among any majority of the same voters that supports this agent is one of those; and when each
 * of such a majority, this agent among them, has for `silenceMs` heard nothing of the other, then so old is the newest heartbeat that a lease of that may count from.
 */
export class Succession {
  readonly #config: SuccessionConfig;
  #before: { readonly name: string; readonly term: number; readonly seenAt: number } | null = null;

  constructor(config: SuccessionConfig) {
    this.#config = config;
  }

  /** This agent coordinates, `adopted` is the newest ledger that there is, and `known` the one that was in force here. What it knows now of who wrote that. */
  note(adopted: Adopted, known: Adopted | null, now: number): void {
    const { node, following } = this.#config;
    const { by: name, term } = adopted;
    const isNext = name !== node && following.term === term + 1;
    // A change of the voters that was not in force here when the other was heard last may have come after what it was answered.
    const isSettled = known !== null && sameVoters(adopted, known);
    this.#before = isNext && isSettled && this.#isUnheard(name, now) ? { name, term, seenAt: now } : null;
  }

  /** From when on no lease of `name` lasts that it was granted in an earlier term, or by itself. */
  leasesOverAt(name: string): number {
    const { following, timers } = this.#config;
    const before = this.#before;
    return before?.name === name && before.term + 1 === following.term
      ? before.seenAt - timers.silenceMs + timers.deadMs
      : following.authoritySince + timers.takeoverMs;
  }

  /** By this agent, and by others that support it and are a majority of the voters with it. */
  #isUnheard(name: string, now: number): boolean {
    const { node, voters, membership, following, timers } = this.#config;
    const lists = (heard: Heartbeat['heard']) => heard.some((each) => each.name === name);
    const hasNotHeard = (voter: string) => {
      const said = membership.newest(voter);
      // Who has just begun to live does not remember whom it heard before.
      const remembers = membership.age(voter, now) >= timers.silenceMs;
      return said !== null && following.isSupport(said) && remembers && !lists(said.heard);
    };
    return !lists(membership.heardList(now)) && voters.areMost((voter) => voter === node || hasNotHeard(voter));
  }
}

function sameVoters(a: Adopted, b: Adopted): boolean {
  const seats = (voters: readonly Voter[]) => voters.map(({ name, incarnation }) => `${name} ${incarnation}`).join();
  return a.formerVoters.length === 0 && b.formerVoters.length === 0 && seats(a.voters) === seats(b.voters);
}
