import type { Ledger, Voter } from '../wire/ledger.ts';
import type { Membership } from './membership.ts';

/** Who votes, as the ledger says that this agent stores: committed or not (Ongaro 2014, section 4.1). */
export interface Voters {
  /** This agent is one of them, and remembers what it has promised. */
  readonly isVoter: boolean;
  /** How many are most of them; more than there are while nobody votes. */
  readonly majority: number;
  readonly all: readonly Voter[];
  /** Names of all. */
  readonly names: readonly string[];
  /** The others that are the incarnation that the ledger means. */
  others(): readonly string[];
  counts(name: string): boolean;
}

export function majorityOf(voters: readonly Voter[]): number {
  return Math.floor(voters.length / 2) + 1;
}

export interface VotersConfig {
  readonly node: string;
  readonly incarnation: number;
  /** Who votes until there is a ledger. */
  readonly founders: () => readonly Voter[];
  readonly membership: Membership;
  readonly held: () => Ledger | null;
}

export function createVoters({ node, incarnation, founders, membership, held }: VotersConfig): Voters {
  const listed = (): readonly Voter[] => held()?.voters ?? founders();
  const isSelf = (voter: Voter): boolean => voter.name === node && voter.incarnation === incarnation;
  const isPresent = ({ name, incarnation: meant }: Voter): boolean =>
    name !== node && membership.newest(name)?.incarnation === meant;
  const described = (voters: readonly Voter[]) => ({
    voters,
    names: voters.map(({ name }) => name),
    isVoter: voters.some(isSelf),
  });
  /** Asked for with every message, and rarely another list than the last time. */
  let last = described(listed());
  const inForce = (): typeof last => {
    const voters = listed();
    if (voters !== last.voters) last = described(voters);
    return last;
  };
  return {
    get isVoter() {
      return inForce().isVoter;
    },
    get majority() {
      return majorityOf(listed());
    },
    get all() {
      return listed();
    },
    get names() {
      return inForce().names;
    },
    others(): string[] {
      const present: string[] = [];
      for (const voter of listed()) if (isPresent(voter)) present.push(voter.name);
      return present;
    },
    counts: (name) => listed().some((voter) => voter.name === name && (isSelf(voter) || isPresent(voter))),
  };
}
