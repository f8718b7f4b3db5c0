import { oneLine } from '../base/one-line.ts';
import { ok, type Result, refuse } from '../base/result.ts';

/** Slots as text, "0-63,70,128-255"; the empty set is "". */
export function formatSlots(slots: Iterable<number>): string {
  const sorted = [...new Set(slots)].sort((a, b) => a - b);
  const ranges: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    let end = i;
    while (sorted[end + 1] === (sorted[end] as number) + 1) end++;
    ranges.push(end === i ? `${sorted[i]}` : `${sorted[i]}-${sorted[end]}`);
    i = end + 1;
  }
  return ranges.join(',');
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
