import type { Heartbeat } from '../wire/control-message.ts';
import { compareVersions, noVersion, versionOf } from '../wire/ledger.ts';
import type { OwnState } from './coordinate.ts';
import { type Parts, programmedEpoch } from './parts.ts';

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
    incarnation: config.incarnation,
    witness: config.witness,
    boot: config.boot,
    mac: config.mac,
    healthy,
  };
}

export function saysSame(a: Said, b: Said): boolean {
  const versions = ['held', 'committed', 'basis'] as const;
  return (
    versions.every((name) => compareVersions(a[name], b[name]) === 0) &&
    sameFields({ ...a, held: 0, committed: 0, basis: 0 }, { ...b, held: 0, committed: 0, basis: 0 })
  );
}

/** Field by field, of the fields of `a`. */
export function sameFields(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): boolean {
  for (const name in a) if (a[name] !== b[name]) return false;
  return true;
}
