import type { Parts } from './parts.ts';
import type { Rounds } from './rounds.ts';

/** The coordinator's heartbeat grants the lease that was asked for with the own heartbeat it names. */
export function takeAnswer({ config, following, share, timers }: Parts, rounds: Rounds): void {
  const said = following.coordinatorHeartbeat();
  const round = said?.heard.find((entry) => entry.name === config.node)?.round;
  const sentAt = round === undefined ? undefined : rounds.sentAt(round);
  if (!said || round === undefined || sentAt === undefined || said.basis.epoch === 0) return;
  share.extendLease({ until: sentAt + timers.leaseMs, round, basis: said.basis });
}

/** A coordinator's own lease: from the newest heartbeat that a majority of the voters answered. */
export function grantOneself({ config, following, register, share, timers }: Parts, rounds: Rounds, now: number): void {
  if (following.name !== config.node) return;
  const quorumAt = following.quorumAt(now);
  const round = rounds.newestBy(quorumAt);
  const basis = register.basis();
  if (round === undefined || basis.epoch === 0 || register.evicting.has(config.node)) return;
  share.extendLease({ until: quorumAt + timers.leaseMs, round, basis });
}
