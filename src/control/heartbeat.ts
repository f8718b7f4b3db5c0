import type { Heartbeat } from '../wire/control-message.ts';
import { compareVersions, noVersion, type Version, versionOf } from '../wire/ledger.ts';
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
  for (const name in a) {
    const field = name as keyof Said | 'kind' | 'round' | 'heard';
    if (field === 'kind' || field === 'round' || field === 'heard') continue;
    const [one, other] = [a[field], b[field]];
    if (one !== other && !(isVersion(one) && isVersion(other) && compareVersions(one, other) === 0)) return false;
  }
  return true;
}

function isVersion(field: Said[keyof Said]): field is Version {
  return typeof field === 'object' && field !== null;
}

/** Field by field, of the fields of `a`. */
export function sameFields(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): boolean {
  for (const name in a) if (a[name] !== b[name]) return false;
  return true;
}
