import type { Ledger, Voter } from '../wire/ledger.ts';
import type { Membership } from './membership.ts';

/**
 * Who votes, as the ledger says that this agent stores: committed or not. The ledger of a change names those before it too, who may elect somebody that has not heard of it: while that ledger is stored, nothing is
 * done without a majority of both (joint consensus: Ongaro 2014, section 4.3). The next one, written once it is committed, names the new ones alone.
 */
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
  /** Those of each of which a majority is needed. */
  readonly electorates: readonly (readonly Voter[])[];
  /** Names of those of an electorate that are the incarnation that is meant, this agent among them. */
  presentIn(electorate: readonly Voter[]): readonly string[];
  /** Whether those for whom `has` holds are a majority of each electorate. */
  areMost(has: (name: string) => boolean): boolean;
  counts(name: string): boolean;
}

const nobody: readonly Voter[] = [];

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
  const incarnationOf = (name: string) => (name === node ? incarnation : membership.newest(name)?.incarnation);
  const presentIn = (electorate: readonly Voter[]): string[] => {
    const present: string[] = [];
    for (const voter of electorate) if (incarnationOf(voter.name) === voter.incarnation) present.push(voter.name);
    return present;
  };
  const formerly = (): readonly Voter[] => held()?.formerVoters ?? nobody;
  const described = (voters: readonly Voter[], former: readonly Voter[]) => ({
    voters,
    former,
    electorates: former.length > 0 ? [voters, former] : [voters],
    names: voters.map(({ name }) => name),
    isVoter: presentIn(voters).includes(node),
  });
  /** Asked for with every message, and rarely another list than the last time. */
  let last = described(listed(), formerly());
  const inForce = (): typeof last => {
    const [voters, former] = [listed(), formerly()];
    if (voters !== last.voters || former !== last.former) last = described(voters, former);
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
    others: () => presentIn(listed()).filter((name) => name !== node),
    get electorates() {
      return inForce().electorates;
    },
    presentIn,
    areMost: (has) => inForce().electorates.every((each) => presentIn(each).filter(has).length >= majorityOf(each)),
    counts: (name) => inForce().electorates.some((each) => presentIn(each).includes(name)),
  };
}
