import { canonicalPolicy, type Policy, planShares } from '../policy/index.ts';
import type { Partition } from '../space/partition.ts';
import type { Claim } from '../wire/control-message.ts';
import { type Holder, type Host, type Ledger, ledgerBounds, type Voter } from '../wire/ledger.ts';
import type { Change } from './change.ts';
import { type Allocation, advance, intendedOwners, redirect, reinstate, settle } from './moves.ts';
import { majorityOf } from './voters.ts';

/** What a coordinator knows when it writes the next ledger. */
export interface Situation {
  readonly partition: Partition;
  /** The policy of the ledger in force. */
  readonly policy: Policy;
  /** What somebody wants changed, all of it allowed. */
  readonly changes: readonly Change[];
  /** Number of the memory of `name`; null when nothing is heard of it. */
  incarnationOf(name: string): number | null;
  /** Silent for so long that its kernel takes nothing new any more. */
  gone(name: string): boolean;
  leaving(name: string): boolean;
  /** Its certificate is revoked: it is heard no more. */
  revoked(name: string): boolean;
  /** Its server answers; null when nothing is heard of it. */
  healthy(name: string): boolean | null;
  hears(name: string): boolean;
  /** Who may get a share besides the members. */
  readonly newcomers: readonly string[];
  /** The epoch whose rows the kernel of `name` has; 0 for none. */
  programmed(name: string): number;
  /** The epoch up to which the routers do as the ledgers say with what `name` gives away. */
  routed(name: string): number;
  /** Packets reach the replica alone whom routers send them to. */
  readonly isRouted: boolean;
  /** The machine of `name` as it says itself; null when nothing is heard of it. */
  hostOf(name: string): Host | null;
  /** What hosts may hold without being known for it, each in this life of its machine. */
  readonly claims: readonly (Claim & { readonly name: string })[];
  /** The holder has no flow of the slot any more. */
  drained(holder: Holder, slot: number): boolean;
}

/** Who writes, and in which term. */
export interface Author {
  readonly term: number;
  readonly by: string;
}

/** The very first ledger: every member gets its share at once, as nobody accepts anything yet. */
export function firstLedger(author: Author, voters: readonly Voter[], situation: Situation): Ledger {
  const { partition, policy } = situation;
  const members = [...situation.newcomers].sort();
  const nobody = Array<null>(partition.slotCount).fill(null);
  const unhealthy = members.filter((name) => situation.healthy(name) === false);
  const ledger: Ledger = {
    ...author,
    epoch: 1,
    cause: 'first map',
    voters,
    formerVoters: [],
    ...{ members, unhealthy, drained: [], hosts: [] },
    owners: planShares({ partition, policy, members: eligible({ members, unhealthy, drained: [] }), current: nobody }),
    ...{ moves: [], nextMoveId: 1, holders: [], unfinished: false },
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
  const { gone, partition, changes } = situation;
  const proposed = changes.find((change) => change.kind === 'policy')?.policy ?? null;
  const policy = proposed ?? situation.policy;
  const who = membersAfter(ledger, situation);
  const seats = votersAfter(ledger, situation);
  // Whoever owns anything is among them, also after it has begun to leave.
  const named = [...new Set([...ledger.members, ...ledger.hosts.map(({ name }) => name)])];
  const owns = (name: string): boolean => ledger.members.includes(name) || ledger.owners.includes(name);
  const evicted = who.members.some((name) => !gone(name)) ? named.filter((name) => gone(name) && owns(name)) : [];
  const { programmed, routed } = situation;
  const sent = (name: string): boolean => situation.isRouted && !gone(name) && eligible(who).includes(name);
  const hosts = { gone, programmed, routed, sent, bootOf: bootsOf(ledger) };

  const replan = (from: Allocation): Allocation => {
    const members = eligible(who);
    const target = planShares({ partition, policy, members, current: intendedOwners(from, members) });
    return redirect(from, target, epoch, hosts);
  };
  const replans = proposed !== null || evicted.length > 0 || !sameMembers(ledger, who);
  const asked = moveAsked(replans ? replan(ledger) : ledger, who, situation, epoch, hosts);
  const replanned = asked ?? (replans ? replan(ledger) : null);
  const advanced = advance(replanned ?? ledger, epoch, hosts);
  // What had to wait, for the room in one ledger or for an earlier move of the same slots, begins when moves are done.
  const ended = advanced?.unfinished && advanced.moves.length < (replanned ?? ledger).moves.length;
  const allocation = advanced && ended ? replan(advanced) : (advanced ?? replanned);
  const reinstated = reinstate(allocation ?? ledger, situation.claims, epoch);
  const settled = settle(reinstated ?? allocation ?? ledger, situation.drained);
  const next = settled ?? reinstated ?? allocation;
  const newHosts = ledger.hosts.some((host) => !sameHost(host, situation.hostOf(host.name) ?? host));
  if (next === null && !replans && seats === null && !newHosts) return null;
  const written: Ledger = {
    ...ledger,
    ...author,
    ...who,
    ...(seats ?? {}),
    ...(next ?? {}),
    epoch,
    cause: causeOf(
      ledger,
      { ...who, voters: seats?.voters ?? ledger.voters },
      evicted,
      changes,
      reinstated !== null ? situation.claims : [],
      situation.revoked,
    ).slice(0, ledgerBounds.causeBytes),
    policy: proposed ? canonicalPolicy(proposed) : ledger.policy,
    policyEpoch: proposed ? epoch : ledger.policyEpoch,
  };
  return { evicted, ledger: withHosts(written, situation) };
}

function sameHost(a: Host, b: Host): boolean {
  return a.boot === b.boot && a.mac === b.mac;
}

/** The slots that somebody wants moved by hand; null when nobody does, or an earlier move of them must be finished first. */
function moveAsked(
  from: Allocation,
  who: Who,
  { changes }: Situation,
  epoch: number,
  hosts: Parameters<typeof redirect>[3],
): Allocation | null {
  const move = changes.find((change) => change.kind === 'move');
  if (!move || !who.members.includes(move.name)) return null;
  const slots = new Set(move.slots);
  const target = intendedOwners(from, who.members).map((owner, slot) => (slots.has(slot) ? move.name : owner));
  const { owners, moves, ...rest } = redirect(from, target, epoch, hosts);
  const isSame = JSON.stringify([owners, moves]) === JSON.stringify([from.owners, from.moves]);
  return isSame ? null : { ...rest, owners, moves, unfinished: from.unfinished };
}

/**
 * The voters after one change of them, or null when there is none. A voter that is revoked loses its seat, and one that has lost its memory is seated anew, before anything
 * else that is wanted.
 */
function votersAfter(ledger: Ledger, situation: Situation): Pick<Ledger, 'voters' | 'formerVoters'> | null {
  const { voters, formerVoters } = ledger;
  const { incarnationOf, changes, hears, revoked, gone } = situation;
  // Once the former voters have committed a change they have no say in the next ledger.
  if (formerVoters.length > 0) return { voters, formerVoters: [] };
  // Not before its last lease, and what it may have coordinated, is over.
  const expelled = voters.find((voter) => revoked(voter.name) && gone(voter.name));
  const forgetful = expelled
    ? undefined
    : voters.find(({ name, incarnation }) => (incarnationOf(name) ?? incarnation) !== incarnation);
  const asked = expelled ? null : (changes.find((change) => change.kind === 'voters') ?? null);
  const name = forgetful?.name ?? asked?.name ?? null;
  const instead = expelled?.name ?? forgetful?.name ?? asked?.instead ?? null;
  const incarnation = name === null ? null : incarnationOf(name);
  if ((name === null && instead === null) || (name !== null && incarnation === null)) return null;
  const staying = voters.filter((voter) => voter.name !== instead);
  const added: Voter[] = name !== null && incarnation !== null ? [{ name, incarnation }] : [];
  const after = [...staying, ...added].sort((a, b) => (a.name < b.name ? -1 : 1));
  const isPresent = (voter: Voter): boolean => voter.incarnation === incarnationOf(voter.name) && hears(voter.name);
  // Enough of both must be there to commit it and to go on.
  const carried = [voters, after].every((each) => each.filter(isPresent).length >= majorityOf(each));
  return carried ? { voters: after, formerVoters: voters } : null;
}

type Who = Pick<Ledger, 'members' | 'unhealthy' | 'drained'>;

function membersAfter(ledger: Ledger, { gone, leaving, healthy, newcomers, changes }: Situation): Who {
  const staying = ledger.members.filter((name) => !gone(name) && !leaving(name));
  const wanted = [...new Set([...staying, ...newcomers])].sort();
  // When all of them leave there is nobody to move anything to.
  const members = wanted.length > 0 ? wanted : ledger.members;
  return {
    members,
    unhealthy: members.filter((name) => !(healthy(name) ?? !ledger.unhealthy.includes(name))),
    drained: members.filter((name) => {
      const asked = changes.findLast(
        (change) => (change.kind === 'drain' || change.kind === 'undrain') && change.name === name,
      );
      return asked ? asked.kind === 'drain' : ledger.drained.includes(name);
    }),
  };
}

/** Who gets a share: the healthy that nobody wants drained; everybody when there is none. */
function eligible({ members, unhealthy, drained }: Who): string[] {
  const serving = members.filter((name) => !unhealthy.includes(name) && !drained.includes(name));
  return serving.length > 0 ? serving : [...members];
}

function sameMembers(a: Who, b: Who): boolean {
  return sameNames(a.members, b.members) && sameNames(a.unhealthy, b.unhealthy) && sameNames(a.drained, b.drained);
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
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
    ...ledger.voters.map(({ name }) => name),
    ...ledger.owners.filter((name) => name !== null),
    ...ledger.moves.flatMap(({ from, to }) => [from, to]),
    ...ledger.holders.map(({ name }) => name),
  ];
  const hosts = [...new Set(named)].sort().flatMap((name) => hostOf(name) ?? known.get(name) ?? []);
  return { ...ledger, hosts };
}

function causeOf(
  before: Ledger,
  after: Who & Pick<Ledger, 'voters'>,
  evicted: readonly string[],
  changes: readonly Change[],
  claims: Situation['claims'],
  revoked: Situation['revoked'],
): string {
  const list = (names: readonly string[], what: string): string =>
    names.length > 0 ? `${names.join(', ')} ${what}` : '';
  const minus = (a: readonly string[], b: readonly string[]): string[] => a.filter((name) => !b.includes(name));
  const present = (names: readonly string[]): string[] => names.filter((name) => after.members.includes(name));
  const seats = (voters: readonly Voter[]): string[] => voters.map(({ name, incarnation }) => `${name} ${incarnation}`);
  const names = (each: readonly string[]): string[] => each.map((seat) => seat.split(' ')[0] ?? '');
  const [seated, unseated] = [
    minus(seats(after.voters), seats(before.voters)),
    minus(seats(before.voters), seats(after.voters)),
  ];
  const causes = [
    changes.some(({ kind }) => kind === 'policy') ? 'policy changed' : '',
    changes.some(({ kind }) => kind === 'move') ? 'slots moved by hand' : '',
    list(evicted.filter(revoked), 'revoked'),
    list(minus(evicted, evicted.filter(revoked)), 'gone'),
    list(minus(after.members, before.members), 'joined'),
    list(minus(minus(before.members, after.members), evicted), 'leaving'),
    list(minus(after.unhealthy, before.unhealthy), 'unhealthy'),
    list(present(minus(before.unhealthy, after.unhealthy)), 'healthy again'),
    list(minus(after.drained, before.drained), 'drained'),
    list(present(minus(before.drained, after.drained)), 'not drained any more'),
    list(minus(names(unseated), names(seated)), 'votes no more'),
    list(names(seated), 'votes'),
    list(
      claims.map(({ name }) => name),
      'may hold connections still',
    ),
  ].filter((each) => each !== '');
  return causes.join('; ') || 'moves go on';
}
