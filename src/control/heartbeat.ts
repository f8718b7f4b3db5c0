import type { Heartbeat } from '../wire/control-message.ts';
import { compareVersions, noVersion, versionOf } from '../wire/ledger.ts';
import type { OwnState } from './coordinate.ts';
import { type Parts, programmedEpoch, routedEpoch } from './parts.ts';

/** A heartbeat without its number, and without those heard. */
export type Said = Omit<Heartbeat, 'round' | 'heard'>;

/** What this agent says of itself now; whom it hears is added when it is sent. */
export function heartbeatOf(parts: Parts, { leaving, healthy }: OwnState, now: number): Said {
  const { config, following, register } = parts;
  const coordinating = following.hasAuthority(now);
  return {
    term: following.term,
    follow: following.name,
    coordinating,
    leaving,
    held: versionOf(register.held),
    committed: coordinating ? register.committed() : noVersion,
    basis: coordinating ? register.basis() : noVersion,
    programmed: programmedEpoch(parts),
    routed: routedEpoch(parts),
    incarnation: config.incarnation,
    witness: config.witness,
    boot: config.boot,
    mac: config.mac,
    healthy,
  };
}

/** Who is silent for long is called with every fifth heartbeat: often enough for who comes back, and little for who does not. */
const callRounds = 5;

/** Whom heartbeat `round` goes to by unicast too: those that do not say that multicasts reach them. */
export function unicastTo({ membership, timers }: Parts, round: number, now: number): string[] {
  return membership
    .unreachedByMulticast(now)
    .filter((name) => round % callRounds === 0 || membership.silence(name, now) < timers.deadMs);
}

/** Apart from whom it hears, and the number. */
export function saysSame(a: Said, b: Said): boolean {
  return (
    a.term === b.term &&
    a.follow === b.follow &&
    a.coordinating === b.coordinating &&
    a.leaving === b.leaving &&
    compareVersions(a.held, b.held) === 0 &&
    compareVersions(a.committed, b.committed) === 0 &&
    compareVersions(a.basis, b.basis) === 0 &&
    a.programmed === b.programmed &&
    a.routed === b.routed &&
    a.incarnation === b.incarnation &&
    a.witness === b.witness &&
    a.boot === b.boot &&
    a.mac === b.mac &&
    a.healthy === b.healthy
  );
}

/** Field by field, of the fields of `a`. */
export function sameFields(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): boolean {
  for (const name in a) if (a[name] !== b[name]) return false;
  return true;
}
