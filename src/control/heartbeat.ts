import type { Heartbeat } from '../wire/control-message.ts';
import { noVersion, versionOf } from '../wire/ledger.ts';
import type { OwnState } from './coordinate.ts';
import type { Parts } from './parts.ts';

/** What this agent says of itself now; whom it hears is added when it is sent. */
export function heartbeatOf(
  parts: Parts,
  { leaving, healthy }: OwnState,
  now: number,
): Omit<Heartbeat, 'round' | 'heard'> {
  const { config, following, register, share } = parts;
  const coordinating = following.hasAuthority(now);
  return {
    term: following.term,
    follow: following.name,
    coordinating,
    leaving,
    held: versionOf(register.held),
    committed: coordinating ? register.committed() : noVersion,
    basis: coordinating ? register.basis() : noVersion,
    programmed: share.programmedEpoch,
    incarnation: config.incarnation,
    witness: config.witness,
    boot: config.boot,
    mac: config.mac,
    healthy,
  };
}
