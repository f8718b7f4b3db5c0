import type { Parts } from './parts.ts';

/** Why this agent may not begin a new cluster, one line; null when it may. */
export function objectionToFounding({ membership, register }: Parts): string | null {
  if (register.held) return `this replica is in a cluster already, at epoch ${register.held.epoch}`;
  const others = membership.others.filter((name) => (membership.newest(name)?.held.epoch ?? 0) > 0);
  if (others.length === 0) return null;
  return `${others.join(', ')} ${others.length > 1 ? 'are' : 'is'} in a cluster already`;
}
