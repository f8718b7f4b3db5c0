import type { Heartbeat } from '../wire/control-message.ts';
import { compareVersions, type Holder, type Host, type Ledger, versionOf } from '../wire/ledger.ts';
import { type Author, firstLedger, nextLedger, type Situation, takenOver } from './next-ledger.ts';
import { type Parts, programmedEpoch, routedEpoch } from './parts.ts';

/** Writes the next ledger when this agent coordinates and there is something to write; one at a time, each committed before the next. */
export function coordinate(parts: Parts, self: OwnState, now: number): void {
  const { config, following, register, lagging } = parts;
  if (!following.hasAuthority(now)) {
    lagging.clear();
    parts.probing.clear();
    // What came to this office is not done in a later one.
    parts.proposals.forgetOffered();
    parts.claimed.take();
    return;
  }
  register.count();
  const author: Author = { term: following.term, by: config.node };
  const { held } = register;
  if (held === null) {
    writeFirst(parts, author, self, now);
  } else if (held.term < following.term) {
    parts.succession.note(held, parts.share.known, now);
    register.write(takenOver(held, author), []);
  } else if (compareVersions(register.committed(), versionOf(held)) === 0) {
    noteLagging(parts, held, now);
    const next = nextLedger(held, author, situationOf(parts, held, self, now));
    if (next) register.write(next.ledger, next.evicted);
  }
  register.count();
}

/** What a coordinator says of others from their heartbeats, and of itself from this. */
export interface OwnState {
  readonly leaving: boolean;
  readonly healthy: boolean;
}

/** Whether this agent may stand: it stays, is not revoked, and knows a ledger, hears everybody, or has waited for them. */
export function mayStand({ config, timers, membership, register }: Parts, { leaving }: OwnState, now: number): boolean {
  if (leaving || membership.isRevoked(config.node)) return false;
  const complete = membership.others.every((peer) => membership.heard(peer, now));
  return register.held !== null || complete || now >= config.start + timers.gatherMs;
}

/** A coordinator that votes no more makes room once the others know; one that is revoked does at once. */
export function makesRoom({ config, membership, register, voters }: Parts): boolean {
  const isDone = compareVersions(register.committed(), versionOf(register.held)) === 0;
  return membership.isRevoked(config.node) || (!voters.isVoter && isDone);
}

function writeFirst(parts: Parts, author: Author, self: OwnState, now: number): void {
  const { config, membership, register, timers } = parts;
  const heard = membership.others.filter((peer) => membership.heard(peer, now));
  const all = heard.length === membership.others.length;
  if (!all && now < config.start + timers.gatherMs) return;
  const members = [config.node, ...heard].filter((name) => !isLeaving(parts, self, name) && !isWitness(parts, name));
  if (members.length === 0) return;
  const policy = config.policy ?? parts.policies.of('strategy: equal');
  register.write(
    firstLedger(author, parts.voters.all, { ...situationOf(parts, null, self, now), policy, newcomers: members }),
    [],
  );
}

function situationOf(parts: Parts, held: Ledger | null, self: OwnState, now: number): Situation {
  const { config, membership, succession, proposals } = parts;
  const isSelf = (name: string) => name === config.node;
  const isPresent = (name: string) => isSelf(name) || (membership.stable(name, now) && membership.answers(name));
  const programmed = (name: string) => programmedBy(parts, name);
  const lately = (name: string) => said(parts, held, name, now);
  const policy = parts.policies.of(held?.policy ?? 'strategy: equal');
  if (held) {
    proposals.offerOwn();
    const report = parts.draining.report(held, config.node);
    if (report) parts.drained.offer(config.node, report);
    const claim = parts.claims.own(now);
    if (claim) parts.claimed.offer(config.node, claim, config.partition.slotCount);
    parts.drained.note(held.holders, now);
  }
  const members = held?.members ?? [];
  return {
    partition: config.partition,
    policy,
    changes: held ? proposals.takeFor(held) : [],
    incarnationOf: (name) => (isSelf(name) ? config.incarnation : (lately(name)?.incarnation ?? null)),
    gone: (name) => now >= succession.leasesOverAt(name) && isGone(parts, name, now),
    leaving: (name) => isLeaving(parts, self, name),
    revoked: membership.isRevoked,
    hears: (name) => isSelf(name) || membership.heard(name, now),
    healthy: (name) => (isSelf(name) ? self.healthy : (lately(name)?.healthy ?? null)),
    newcomers: [config.node, ...membership.others].filter(
      (name) =>
        isPresent(name) &&
        !members.includes(name) &&
        !isLeaving(parts, self, name) &&
        !isWitness(parts, name) &&
        programmed(name) >= (held?.epoch ?? 0),
    ),
    programmed,
    routed: (name) => (isSelf(name) ? routedEpoch(parts) : (membership.newest(name)?.routed ?? 0)),
    isRouted: config.copies ?? false,
    hostOf: (name) => hostOf(parts, held, name, now),
    claims: parts.claimed.take().filter(({ name, boot }) => hostOf(parts, held, name, now)?.boot === boot),
    drained: (holder, slot) =>
      hasDrained(parts, holder, slot, sessionIn(held, holder.name), policy.drainDeadline * 1000, now),
  };
}

function programmedBy(parts: Parts, name: string): number {
  const { config, membership } = parts;
  return name === config.node ? programmedEpoch(parts) : (membership.newest(name)?.programmed ?? 0);
}

/** Looked at while the ledger held is committed, so that everybody can have its rows. */
function noteLagging(parts: Parts, held: Ledger, now: number): void {
  parts.lagging.note(
    held.members.filter((name) => programmedBy(parts, name) < held.epoch),
    now,
  );
}

/** Its kernel takes nothing new any more: it is not heard, or has no lease because it does not follow. */
function isGone({ config, membership, lagging, share, timers }: Parts, name: string, now: number): boolean {
  if (name === config.node) return lagging.isStalled(name, now) && !share.isLeased(now);
  return membership.unanswered(name, now) >= timers.deadMs || lagging.isGone(name, now);
}

function hasDrained(
  { config, membership, drained, probing, timers }: Parts,
  holder: Holder,
  slot: number,
  session: number,
  deadlineMs: number,
  now: number,
): boolean {
  if (holder.name === config.node && holder.boot !== config.boot) return true;
  // What a revoked host holds it does not serve for this cluster: its clients are reset by the owner, and reach that.
  return (
    membership.isRevoked(holder.name) ||
    drained.reported(holder, slot) ||
    probing.isGone(holder, session, now) ||
    drained.msLeft(holder, deadlineMs + timers.overdueMs, now) <= 0
  );
}

function hostOf(parts: Parts, held: Ledger | null, name: string, now: number): Host | null {
  const { config, membership } = parts;
  if (name === config.node) return { name, session: config.session, boot: config.boot, mac: config.mac };
  const heard = said(parts, held, name, now);
  return heard && { name, session: membership.session(name), boot: heard.boot, mac: heard.mac };
}

/** What `name` says now. What a silent one said last, or a life before the one that the ledger knows, is of the past. */
function said({ membership }: Parts, held: Ledger | null, name: string, now: number): Heartbeat | null {
  return membership.heard(name, now) && membership.session(name) >= sessionIn(held, name)
    ? membership.newest(name)
    : null;
}

function sessionIn(held: Ledger | null, name: string): number {
  return held?.hosts.find((host) => host.name === name)?.session ?? 0;
}

function isWitness({ config, membership }: Parts, name: string): boolean {
  return name === config.node ? config.witness : (membership.newest(name)?.witness ?? false);
}

function isLeaving({ config, membership }: Parts, self: OwnState, name: string): boolean {
  return name === config.node ? self.leaving : (membership.newest(name)?.leaving ?? false);
}
