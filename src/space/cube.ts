/** Slots that agree with `value` on the bits of `care`; the unit of a cover, as a filter is in address bits. */
export interface Cube {
  readonly value: number;
  readonly care: number;
}

/** A set of slots as a truth table: 1 for each slot in it. Its length is a power of two. */
export type TruthTable = Uint8Array;

/**
 * An irredundant list of cubes that covers all of `lower` and nothing outside `upper`, by the recursion of Minato and Morreale ("Fast
 * generation of prime-irredundant covers", 1992): what both halves of the space can share is covered once for both. Not always the shortest
 * list. Takes at most about n^1.6 steps for n slots.
 */
export function irredundantCover(lower: TruthTable, upper: TruthTable): Cube[] {
  if (!lower.includes(1)) return [];
  if (!upper.includes(0)) return [{ value: 0, care: 0 }];
  const half = lower.length / 2;
  const [lower0, lower1] = [lower.subarray(0, half), lower.subarray(half)];
  const [upper0, upper1] = [upper.subarray(0, half), upper.subarray(half)];
  const only0 = irredundantCover(without(lower0, upper1), upper0);
  const only1 = irredundantCover(without(lower1, upper0), upper1);
  const rest0 = uncovered(lower0, only0);
  const rest1 = uncovered(lower1, only1);
  const both = irredundantCover(union(rest0, rest1), intersection(upper0, upper1));
  return [
    ...only0.map(({ value, care }) => ({ value, care: care | half })),
    ...only1.map(({ value, care }) => ({ value: value | half, care: care | half })),
    ...both,
  ];
}

export function slotsOf(cube: Cube, slotCount: number): number[] {
  const free = (slotCount - 1) & ~cube.care;
  const slots: number[] = [];
  // Counts through the subsets of the free bits: subtracting the mask carries over the bits that are fixed.
  for (let subset = 0; ; subset = (subset - free) & free) {
    slots.push(cube.value | subset);
    if (subset === free) return slots;
  }
}

/** What of a set the cubes leave. */
function uncovered(table: TruthTable, cubes: readonly Cube[]): TruthTable {
  if (cubes.length === 0) return table;
  const left = table.slice();
  for (const cube of cubes) for (const slot of slotsOf(cube, table.length)) left[slot] = 0;
  return left;
}

// Loops, because these three are most of the time that a cover takes, and `map` calls a function for each slot.

function without(table: TruthTable, other: TruthTable): TruthTable {
  const left = new Uint8Array(table.length);
  for (let i = 0; i < table.length; i++) left[i] = (table[i] ?? 0) & ~(other[i] ?? 0);
  return left;
}

function union(table: TruthTable, other: TruthTable): TruthTable {
  const all = new Uint8Array(table.length);
  for (let i = 0; i < table.length; i++) all[i] = (table[i] ?? 0) | (other[i] ?? 0);
  return all;
}

function intersection(table: TruthTable, other: TruthTable): TruthTable {
  const shared = new Uint8Array(table.length);
  for (let i = 0; i < table.length; i++) shared[i] = (table[i] ?? 0) & (other[i] ?? 0);
  return shared;
}
