import { compareVersions, type Ledger, noVersion, type Version, versionOf } from '../wire/ledger.ts';
import type { Following } from './following.ts';
import type { Membership } from './membership.ts';
import { majorityOf, type Voters } from './voters.ts';

/**
 * The ledger this agent stores, and, at a coordinator, whether a majority of the voters stores it too. Only then is it
 * committed: every later coordinator finds it among the voters that support it, so nobody can act on a contradiction.
 */
export interface Register {
  readonly held: Ledger | null;
  /** Whether `ledger` from `sender` takes the place of the one held. */
  accept(sender: string, ledger: Ledger): boolean;
  /** A coordinator writes. */
  write(ledger: Ledger, evicted: readonly string[]): void;
  /** A coordinator: counts who stores what is held. */
  count(): void;
  /** At a coordinator: the newest committed ledger of its term. */
  committed(): Version;
  /** At a coordinator: what it committed last in its term, or, of the first of these, the one adopted with the same content; no other ledger can be in force. None before: one that nobody here knows of may be adopted elsewhere. */
  basis(): Version;
  /** Members whose slots a ledger not yet committed gives away: they get no lease until it is. */
  readonly evicting: ReadonlySet<string>;
}

export interface RegisterConfig {
  readonly node: string;
  readonly incarnation: number;
  readonly membership: Membership;
  readonly following: Following;
  readonly voters: Voters;
  readonly held: Ledger | null;
}

export function createRegister(config: RegisterConfig): Register {
  const { node, incarnation, voters, membership, following } = config;
  let held = config.held;
  let committed = noVersion;
  /** The first ledger written in a term, and the one that it repeats. */
  let first = noVersion;
  let adopted = noVersion;
  let evicting = new Set<string>();

  const mayAdopt = (sender: string, ledger: Ledger) => {
    if (following.name === sender) return ledger.term === following.term;
    const supports = membership.newest(sender)?.follow === node;
    return following.name === node && supports && versionOf(held).term < following.term;
  };

  return {
    get held() {
      return held;
    },
    get evicting() {
      return evicting;
    },
    accept(sender, ledger) {
      if (!mayAdopt(sender, ledger) || compareVersions(ledger, versionOf(held)) <= 0) return false;
      held = ledger;
      return true;
    },
    write(ledger, evicted) {
      if (versionOf(held).term < ledger.term) {
        first = versionOf(ledger);
        adopted = versionOf(held ?? ledger);
      }
      held = ledger;
      evicting = new Set(evicted);
    },
    count() {
      const version = versionOf(held);
      if (version.term !== following.term || compareVersions(version, committed) === 0) return;
      const storing = following.supporters().filter((said) => compareVersions(said.held, version) === 0);
      const memories = new Set([incarnation, ...storing.map((said) => said.incarnation)]);
      // Whoever is elected by the former voters must find it among them; whoever is elected by the new ones holds it.
      const electorate = held && held.formerVoters.length > 0 ? held.formerVoters : voters.all;
      const stored = electorate.filter((voter) => memories.has(voter.incarnation)).length;
      if (stored < majorityOf(electorate)) return;
      committed = version;
      evicting = new Set();
    },
    basis() {
      if (following.name !== node || committed.term !== following.term) return noVersion;
      return compareVersions(committed, first) === 0 ? adopted : committed;
    },
    committed: () => (following.name === node && committed.term === following.term ? committed : noVersion),
  };
}
