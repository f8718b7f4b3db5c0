import { canonicalPolicy, type Policy, planShares } from '../policy/index.ts';
import type { Partition } from '../space/partition.ts';
import { type Holder, type Host, type Ledger, ledgerBounds } from '../wire/ledger.ts';
import { type Allocation, advance, intendedOwners, redirect, settle } from './moves.ts';

/** What a coordinator knows when it writes the next ledger. */
export interface Situation {
  readonly partition: Partition;
  /** The policy of the ledger in force. */
  readonly policy: Policy;
  /** A policy that somebody wants instead. */
  readonly proposed: Policy | null;
  /** Silent for so long that its kernel takes nothing new any more. */
  gone(name: string): boolean;
  leaving(name: string): boolean;
  /** Its server answers; null when nothing is heard of it. */
  healthy(name: string): boolean | null;
  /** Who may get a share besides the members. */
  readonly newcomers: readonly string[];
  /** The epoch whose rows the kernel of `name` has; 0 for none. */
  programmed(name: string): number;
  /** The machine of `name` as it says itself; null when nothing is heard of it. */
  hostOf(name: string): Host | null;
  /** The holder has no flow of the slot any more. */
  drained(holder: Holder, slot: number): boolean;
}

/** Who writes, and in which term. */
export interface Author {
  readonly term: number;
  readonly by: string;
}

/** The very first ledger: every member gets its share at once, as nobody accepts anything yet. */
export function firstLedger(author: Author, situation: Situation): Ledger {
  const { partition, policy } = situation;
  const members = [...situation.newcomers].sort();
  const nobody = Array<null>(partition.slotCount).fill(null);
  const unhealthy = members.filter((name) => situation.healthy(name) === false);
  const ledger: Ledger = {
    ...author,
    epoch: 1,
    cause: 'first map',
    ...{ members, unhealthy, drained: [], hosts: [] },
    owners: planShares({ partition, policy, members: eligible({ members, unhealthy, drained: [] }), current: nobody }),
    ...{ moves: [], nextMoveId: 1, holders: [] },
    policy: canonicalPolicy(policy),
    policyEpoch: 1,
  };
  return withHosts(ledger, situation);
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
  const { gone, proposed, partition } = situation;
  const who = membersAfter(ledger, situation);
  const owners = ledger.owners.filter((name) => name !== null);
  const evicted = who.members.some((name) => !gone(name))
    ? [...new Set([...ledger.members, ...owners])].filter(gone)
    : [];
  const policy = proposed ?? situation.policy;
  const hosts = { gone, programmed: situation.programmed, bootOf: bootsOf(ledger) };

  const replan = (from: Allocation): Allocation => {
    const members = eligible(who);
    const target = planShares({ partition, policy, members, current: intendedOwners(from, members) });
    return redirect(from, target, epoch, hosts);
  };
  const changed = proposed !== null || evicted.length > 0 || !sameMembers(ledger, who);
  const replanned = changed ? replan(ledger) : null;
  const advanced = advance(replanned ?? ledger, epoch, hosts);
  // What had to wait, for the room in one ledger or for an earlier move of the same slots, begins when moves are done.
  const ended = advanced !== null && advanced.moves.length < (replanned ?? ledger).moves.length;
  const allocation = ended ? replan(advanced) : (advanced ?? replanned);
  const settled = settle(allocation ?? ledger, situation.drained);
  const next = settled ?? allocation;
  const written: Ledger = {
    ...ledger,
    ...author,
    ...who,
    ...(next ?? {}),
    epoch,
    cause: causeOf(ledger, who, evicted, proposed !== null).slice(0, ledgerBounds.causeBytes),
    policy: proposed ? canonicalPolicy(proposed) : ledger.policy,
    policyEpoch: proposed ? epoch : ledger.policyEpoch,
  };
  const known = withHosts(written, situation);
  const news = next !== null || changed || JSON.stringify(known.hosts) !== JSON.stringify(ledger.hosts);
  return news ? { evicted, ledger: known } : null;
}

type Who = Pick<Ledger, 'members' | 'unhealthy' | 'drained'>;

function membersAfter(ledger: Ledger, { gone, leaving, healthy, newcomers }: Situation): Who {
  const staying = ledger.members.filter((name) => !gone(name) && !leaving(name));
  const wanted = [...new Set([...staying, ...newcomers])].sort();
  // When all of them leave there is nobody to move anything to.
  const members = wanted.length > 0 ? wanted : ledger.members;
  return {
    members,
    unhealthy: members.filter((name) => !(healthy(name) ?? !ledger.unhealthy.includes(name))),
    drained: ledger.drained.filter((name) => members.includes(name)),
  };
}

/** Who gets a share: the healthy that nobody wants drained; everybody when there is none. */
function eligible({ members, unhealthy, drained }: Who): string[] {
  const serving = members.filter((name) => !unhealthy.includes(name) && !drained.includes(name));
  return serving.length > 0 ? serving : [...members];
}

function sameMembers(a: Who, b: Who): boolean {
  return (['members', 'unhealthy', 'drained'] as const).every((each) => a[each].join() === b[each].join());
}

function bootsOf({ hosts }: Ledger): (name: string) => number {
  const boots = new Map(hosts.map(({ name, boot }) => [name, boot]));
  return (name) => boots.get(name) ?? 0;
}

/** With the machine of everybody who is named: as it says itself, or as it was known. */
function withHosts(ledger: Ledger, { hostOf }: Situation): Ledger {
  const known = new Map(ledger.hosts.map((host) => [host.name, host]));
  const named = [
    ...ledger.members,
    ...ledger.owners.filter((name) => name !== null),
    ...ledger.moves.flatMap(({ from, to }) => [from, to]),
    ...ledger.holders.map(({ name }) => name),
  ];
  const hosts = [...new Set(named)].sort().flatMap((name) => hostOf(name) ?? known.get(name) ?? []);
  return { ...ledger, hosts };
}

function causeOf(before: Ledger, after: Who, evicted: readonly string[], policyChanged: boolean): string {
  const list = (names: readonly string[], what: string): string =>
    names.length > 0 ? `${names.join(', ')} ${what}` : '';
  const minus = (a: readonly string[], b: readonly string[]): string[] => a.filter((name) => !b.includes(name));
  const present = (names: readonly string[]): string[] => names.filter((name) => after.members.includes(name));
  const causes = [
    policyChanged ? 'policy changed' : '',
    list(evicted, 'gone'),
    list(minus(after.members, before.members), 'joined'),
    list(minus(minus(before.members, after.members), evicted), 'leaving'),
    list(minus(after.unhealthy, before.unhealthy), 'unhealthy'),
    list(present(minus(before.unhealthy, after.unhealthy)), 'healthy again'),
    list(minus(after.drained, before.drained), 'drained'),
    list(present(minus(before.drained, after.drained)), 'not drained any more'),
  ].filter((each) => each !== '');
  return causes.join('; ') || 'moves go on';
}
