import { setImmediate as nextTurn } from 'node:timers/promises';
import { coverSlots, formatFilter, formatSlots, type Partition } from '../space/index.ts';

/** One replica's share as people and programs read it. */
export interface ShareStatus {
  readonly name: string;
  /** As text, "0-63,70". */
  readonly slots: string;
  readonly count: number;
  /** The smallest list, each "value/mask". */
  readonly filters: readonly string[];
}

/** Slots by the name of their owner; of nobody's there is no entry. */
export function slotsByOwner(owners: readonly (string | null)[]): ReadonlyMap<string, readonly number[]> {
  const byOwner = new Map<string, number[]>();
  for (const [slot, owner] of owners.entries()) {
    if (owner === null) continue;
    const slots = byOwner.get(owner);
    if (slots) slots.push(slot);
    else byOwner.set(owner, [slot]);
  }
  return byOwner;
}

/**
 * Shares of every member, and of nobody else; a member without slots has an empty one. Covers take time: between two the agent
 * gets its turn, or it would miss its heartbeats while somebody asks for the status of a large cluster.
 */
export async function sharesOf(
  partition: Partition,
  owners: readonly (string | null)[],
  members: readonly string[],
): Promise<ShareStatus[]> {
  const byOwner = slotsByOwner(owners);
  const shares: ShareStatus[] = [];
  for (const name of members) {
    const slots = byOwner.get(name) ?? [];
    const filters = coverSlots(partition, slots).map(formatFilter);
    shares.push({ name, slots: formatSlots(slots), count: slots.length, filters });
    await nextTurn();
  }
  return shares;
}
