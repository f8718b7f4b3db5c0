import { oneLine } from '../base/one-line.ts';
import { ok, type Result, refuse } from '../base/result.ts';

/** Slots as text, "0-63,70,128-255"; the empty set is "". */
export function formatSlots(slots: Iterable<number>): string {
  return slotRanges(slots)
    .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`))
    .join(',');
}

/** The fewest ranges, both ends included, that hold exactly these slots; ascending. */
export function slotRanges(slots: Iterable<number>): [first: number, last: number][] {
  const ranges: [number, number][] = [];
  for (const slot of [...new Set(slots)].sort((a, b) => a - b)) {
    const newest = ranges.at(-1);
    if (newest && newest[1] === slot - 1) newest[1] = slot;
    else ranges.push([slot, slot]);
  }
  return ranges;
}

/** The slots of text as `formatSlots` writes it, each below `slotCount`, ascending. */
export function parseSlots(text: string, slotCount: number): Result<number[]> {
  const ranges: { first: number; last: number }[] = [];
  for (const part of text.split(',').map((each) => each.trim())) {
    if (part === '') continue;
    const match = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(part);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (!match || first > last) return refuse(`"${oneLine(part)}" is not a slot or a range of slots such as "0-63"`);
    if (last >= slotCount) return refuse(`slot ${last} does not exist, allowed are 0 to ${slotCount - 1}`);
    ranges.push({ first, last });
  }
  ranges.sort((a, b) => a.first - b.first);
  const slots: number[] = [];
  // Ranges may overlap: each goes on where those before it ended, so that a long list of large ones is no long work.
  for (const { first, last } of ranges) {
    for (let slot = Math.max(first, (slots.at(-1) ?? -1) + 1); slot <= last; slot++) slots.push(slot);
  }
  return ok(slots);
}
