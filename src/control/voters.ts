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
  return {
    get isVoter() {
      return listed().some(isSelf);
    },
    get majority() {
      return majorityOf(listed());
    },
    get all() {
      return listed();
    },
    get names() {
      return listed().map(({ name }) => name);
    },
    others: () =>
      listed()
        .filter(isPresent)
        .map(({ name }) => name),
    counts: (name) => listed().some((voter) => voter.name === name && (isSelf(voter) || isPresent(voter))),
  };
}
