import type { Parts } from './parts.ts';

/** How long an agent that leaves waits, given what is left to wait for. */
export function patienceMs({ config, share, timers, policies }: Parts): number {
  const map = share.known;
  if (!map) return timers.leaveMs;
  const moving = map.moves.some(({ from, to }) => from === config.node || to === config.node);
  if (moving || map.owners.includes(config.node)) return timers.leaveMs;
  const holds = map.holders.some(({ name, boot }) => name === config.node && boot === config.boot);
  return holds ? timers.leaveMs + policies.of(map.policy).drainDeadline * 1000 + timers.overdueMs : 0;
}
