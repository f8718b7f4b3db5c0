import type { ReplicaStatus } from '../lab/index.ts';
import { parseSlots } from '../space/index.ts';

/** Slots that are on their way, that others than their owner may hold connections of, or that are nobody's: as the newest map says that an agent knows. */
export function unsettledSlots(statuses: readonly ReplicaStatus[], slotCount: number): number {
  const serving = statuses.filter(({ verdict }) => verdict === 'serving');
  const told = serving.length > 0 ? serving : statuses;
  const [newest] = [...told].sort((a, b) => b.epoch - a.epoch);
  if (!newest) return slotCount;
  const texts = [newest.unowned, ...[...newest.moves, ...newest.holders].map(({ slots }) => slots)];
  const slots = texts.flatMap((text) => {
    const parsed = parseSlots(text, slotCount);
    return parsed.ok ? parsed.value : [];
  });
  return new Set(slots).size;
}
