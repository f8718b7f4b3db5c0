import { ok, type Result, refuse } from '../base/result.ts';
import { slotsOf } from '../space/cube.ts';
import { type Filter, formatFilter } from '../space/filter.ts';
import { type Partition, slotOf } from '../space/partition.ts';
import type { JoinFilters } from '../wire/igmp-extension.ts';

/** The slots whose clients the filters accept, ascending. Refused when a filter splits slots, or is of another family. */
export function slotsOfFilters(partition: Partition, { permit, prohibit }: JoinFilters): Result<number[]> {
  const chosen = new Uint8Array(partition.slotCount);
  for (const [filters, mark] of [
    [permit, 1],
    [prohibit, 0],
  ] as const) {
    for (const filter of filters) {
      if (splitsSlots(partition, filter)) return refuse(`filter ${formatFilter(filter)} splits slots`);
      const cube = { value: slotOf(partition, filter.value), care: slotOf(partition, filter.mask) };
      for (const slot of slotsOf(cube, partition.slotCount)) chosen[slot] = mark;
    }
  }
  const slots: number[] = [];
  for (const [slot, mark] of chosen.entries()) if (mark) slots.push(slot);
  return ok(slots);
}

function splitsSlots({ mask }: Partition, filter: Filter): boolean {
  return filter.mask.family !== mask.family || (filter.mask.value & ~mask.value) !== 0n;
}
