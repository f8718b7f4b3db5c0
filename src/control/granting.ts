import type { Parts } from './parts.ts';
import type { Rounds } from './rounds.ts';
import type { Grant } from './share.ts';

/** The lease that the coordinator's newest heartbeat grants: the one asked for with the own heartbeat it names; null for none. */
export function grantedByCoordinator({ config, following, timers }: Parts, rounds: Rounds): Grant | null {
  const said = following.coordinatorHeartbeat();
  const round = said?.heard.find((entry) => entry.name === config.node)?.round;
  const sentAt = round === undefined ? undefined : rounds.sentAt(round);
  if (!said || round === undefined || sentAt === undefined || said.basis.epoch === 0) return null;
  return { until: sentAt + timers.leaseMs, round, basis: said.basis };
}

/** A coordinator's own lease, from the newest heartbeat that a majority of the voters answered; null for none. */
export function grantedByOneself(
  { config, following, register, timers }: Parts,
  rounds: Rounds,
  now: number,
): Grant | null {
  if (following.name !== config.node) return null;
  const quorumAt = following.quorumAt(now);
  const round = rounds.newestBy(quorumAt);
  const basis = register.basis();
  if (round === undefined || basis.epoch === 0 || register.evicting.has(config.node)) return null;
  return { until: quorumAt + timers.leaseMs, round, basis };
}
