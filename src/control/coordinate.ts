import { compareVersions, type Ledger, versionOf } from '../wire/ledger.ts';
import { type Author, firstLedger, nextLedger, type Situation, takenOver } from './next-ledger.ts';
import type { Parts } from './parts.ts';

/** Writes the next ledger when this agent coordinates and there is something to write; one at a time, each committed before the next. */
export function coordinate(parts: Parts, leaving: boolean, now: number): void {
  const { config, following, register } = parts;
  if (!following.hasAuthority(now)) return;
  register.count();
  const author: Author = { term: following.term, by: config.node };
  const { held } = register;
  if (held === null) {
    writeFirst(parts, author, leaving, now);
  } else if (held.term < following.term) {
    if (!register.isBehind()) register.write(takenOver(held, author), []);
  } else if (compareVersions(register.committed(), versionOf(held)) === 0) {
    const next = nextLedger(held, author, situationOf(parts, held, leaving, now));
    if (next) register.write(next.ledger, next.evicted);
  }
  register.count();
}

function writeFirst(parts: Parts, author: Author, leaving: boolean, now: number): void {
  const { config, membership, register, timers } = parts;
  const heard = membership.others.filter((peer) => membership.heard(peer, now));
  const all = heard.length === membership.others.length;
  if (register.isBehind() || (!all && now < config.start + timers.gatherMs)) return;
  const members = [config.node, ...heard].filter((name) => !isLeaving(parts, leaving, name)).sort();
  if (members.length === 0) return;
  const policy = config.policy ?? ({ strategy: 'equal', handoff: 'reset' } as const);
  register.write(firstLedger(author, config.partition, policy, members), []);
}

function situationOf(parts: Parts, held: Ledger, leaving: boolean, now: number): Situation {
  const { config, membership, following, share, timers, proposals } = parts;
  const settledIn = now >= following.authoritySince + timers.takeoverMs;
  const isSelf = (name: string) => name === config.node;
  const isPresent = (name: string) => isSelf(name) || (membership.stable(name, now) && membership.answers(name));
  proposals.offerOwn();
  return {
    partition: config.partition,
    policy: parts.policyOf(held.policy),
    proposed: proposals.takeFor(held),
    gone: (name) => settledIn && !isSelf(name) && membership.unanswered(name, now) >= timers.deadMs,
    leaving: (name) => isLeaving(parts, leaving, name),
    newcomers: [config.node, ...membership.others].filter(
      (name) => isPresent(name) && !held.members.includes(name) && !isLeaving(parts, leaving, name),
    ),
    programmed: (name) => (isSelf(name) ? share.programmedEpoch : (membership.newest(name)?.programmed ?? 0)),
  };
}

function isLeaving({ config, membership }: Parts, leaving: boolean, name: string): boolean {
  return name === config.node ? leaving : (membership.newest(name)?.leaving ?? false);
}
