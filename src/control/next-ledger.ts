import { canonicalPolicy, type Policy, planShares } from '../policy/index.ts';
import type { Partition } from '../space/partition.ts';
import { type Ledger, ledgerBounds } from '../wire/ledger.ts';
import { type Allocation, advance, intendedOwners, redirect } from './moves.ts';

/** What a coordinator knows when it writes the next ledger. */
export interface Situation {
  readonly partition: Partition;
  /** The policy of the ledger in force. */
  readonly policy: Policy;
  /** A policy that somebody wants instead. */
  readonly proposed: Policy | null;
  /** Silent for so long that its kernel accepts nothing any more. */
  gone(name: string): boolean;
  leaving(name: string): boolean;
  /** Who may get a share besides the members. */
  readonly newcomers: readonly string[];
  /** The epoch whose share the kernel of `name` accepts; 0 for none. */
  programmed(name: string): number;
}

/** Who writes, and in which term. */
export interface Author {
  readonly term: number;
  readonly by: string;
}

/** The very first ledger: every member gets its share at once, as nobody accepts anything yet. */
export function firstLedger(author: Author, partition: Partition, policy: Policy, members: readonly string[]): Ledger {
  const nobody = Array<null>(partition.slotCount).fill(null);
  return {
    ...author,
    epoch: 1,
    cause: 'first map',
    members,
    owners: planShares({ partition, policy, members: [...members], current: nobody }),
    moves: [],
    nextMoveId: 1,
    policy: canonicalPolicy(policy),
    policyEpoch: 1,
  };
}

/** The same content in the author's own term: what a new coordinator writes before anything else (Raft, section 5.4.2). */
export function takenOver(ledger: Ledger, author: Author): Ledger {
  return { ...ledger, ...author, epoch: ledger.epoch + 1, cause: `${author.by} coordinates` };
}

/** The ledger after `ledger`, or null when there is nothing to change. `evicted` names those whose slots it gives away unasked. */
export function nextLedger(
  ledger: Ledger,
  author: Author,
  situation: Situation,
): { readonly ledger: Ledger; readonly evicted: readonly string[] } | null {
  const epoch = ledger.epoch + 1;
  const { gone, leaving, proposed } = situation;
  const staying = ledger.members.filter((name) => !gone(name) && !leaving(name));
  const wanted = [...new Set([...staying, ...situation.newcomers])].sort();
  // When all of them leave there is nobody to move anything to.
  const members = wanted.length > 0 ? wanted : ledger.members;
  const departing = ledger.moves.filter((move) => move.phase === 'leave').map((move) => move.from);
  const evicted = wanted.length > 0 ? [...new Set([...ledger.members, ...departing])].filter(gone) : [];
  const policy = proposed ?? situation.policy;

  const { partition } = situation;
  const target = (from: Allocation) =>
    planShares({ partition, policy, members: [...members], current: intendedOwners(from, members) });
  const membersChanged = members.join() !== ledger.members.join();
  const replanned =
    membersChanged || evicted.length > 0 || proposed ? redirect(ledger, target(ledger), epoch, gone) : null;
  const advanced = advance(replanned ?? ledger, epoch, situation.programmed);
  // Moves beyond the bound of one ledger start when the earlier ones are done.
  const rest = advanced?.moves.length === 0 ? redirect(advanced, target(advanced), epoch, gone) : null;
  const allocation = rest ?? advanced ?? replanned;
  if (!allocation) return null;
  const cause = causeOf(ledger.members, members, evicted, proposed !== null);
  return {
    evicted,
    ledger: {
      ...ledger,
      ...author,
      ...allocation,
      epoch,
      members,
      cause: cause.slice(0, ledgerBounds.causeBytes),
      policy: proposed ? canonicalPolicy(proposed) : ledger.policy,
      policyEpoch: proposed ? epoch : ledger.policyEpoch,
    },
  };
}

function causeOf(
  before: readonly string[],
  after: readonly string[],
  evicted: readonly string[],
  policyChanged: boolean,
): string {
  const joined = after.filter((name) => !before.includes(name));
  const left = before.filter((name) => !after.includes(name) && !evicted.includes(name));
  const causes = [
    policyChanged ? 'policy changed' : '',
    evicted.length > 0 ? `${evicted.join(', ')} gone` : '',
    joined.length > 0 ? `${joined.join(', ')} joined` : '',
    left.length > 0 ? `${left.join(', ')} leaving` : '',
  ].filter((each) => each !== '');
  return causes.join('; ') || 'moves go on';
}
