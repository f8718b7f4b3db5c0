import { type Cube, slotsOf, type TruthTable } from './cube.ts';

/** Steps of the search before it settles for the best list found: some tens of milliseconds at most. */
const stepsMax = 2000;

/** A prime cube: one that cannot grow within the set. */
interface Prime {
  readonly cube: Cube;
  readonly slots: readonly number[];
}

/**
 * The shortest list of cubes that covers `table`, for at most 256 slots: prime implicants (Quine and McCluskey), then branch and bound from
 * the list `found`, which is returned when nothing shorter turns up.
 */
export function shortestCover(table: TruthTable, found: readonly Cube[]): readonly Cube[] {
  // A set that is one cube is always found as one, so two are the fewest for any other.
  if (found.length <= 2) return found;
  const primes = primesOf(table);
  const primesAt: Prime[][] = Array.from(table, () => []);
  for (const prime of primes) for (const slot of prime.slots) primesAt[slot]?.push(prime);

  let best = found;
  let steps = 0;
  const covered = new Uint8Array(table.length);
  const chosen: Cube[] = [];

  function search(): void {
    if (steps++ > stepsMax) return;
    const { bound, tightest } = remaining(table, covered, primesAt);
    if (chosen.length + bound >= best.length) return;
    if (tightest === null) {
      best = [...chosen];
      return;
    }
    const candidates = (primesAt[tightest] ?? []).map((prime) => ({
      prime,
      fresh: prime.slots.filter((slot) => covered[slot] === 0),
    }));
    candidates.sort((a, b) => b.fresh.length - a.fresh.length || a.prime.cube.value - b.prime.cube.value);
    for (const { prime, fresh } of candidates) {
      for (const slot of fresh) covered[slot] = 1;
      chosen.push(prime.cube);
      search();
      chosen.pop();
      for (const slot of fresh) covered[slot] = 0;
    }
  }

  search();
  return best;
}

/**
 * What is left to cover: `bound` cubes at least, because that many slots have no cube in common, two by two; and the slot with the
 * fewest primes to choose among, null when nothing is left.
 */
function remaining(
  table: TruthTable,
  covered: Uint8Array,
  primesAt: readonly (readonly Prime[])[],
): { bound: number; tightest: number | null } {
  const open = [...table.keys()].filter((slot) => table[slot] === 1 && covered[slot] === 0);
  open.sort((a, b) => (primesAt[a]?.length ?? 0) - (primesAt[b]?.length ?? 0) || a - b);
  const reached = new Set<number>();
  let bound = 0;
  for (const slot of open) {
    if (reached.has(slot)) continue;
    bound++;
    for (const prime of primesAt[slot] ?? []) for (const each of prime.slots) reached.add(each);
  }
  return { bound, tightest: open[0] ?? null };
}

/** Every cube within the set that is in no larger one. */
function primesOf(table: TruthTable): Prime[] {
  const all = table.length - 1;
  const within = new Map<number, boolean>();
  const key = (value: number, care: number): number => care * table.length + value;

  function isWithin(value: number, care: number): boolean {
    const free = all & ~care;
    if (free === 0) return table[value] === 1;
    const known = within.get(key(value, care));
    if (known !== undefined) return known;
    const bit = free & -free;
    const answer = isWithin(value, care | bit) && isWithin(value | bit, care | bit);
    within.set(key(value, care), answer);
    return answer;
  }

  const primes: Prime[] = [];
  for (let care = 0; care <= all; care++) {
    // Counts through the subsets of `care`.
    for (let value = 0; ; value = (value - care) & care) {
      if (isWithin(value, care) && !growable(value, care)) {
        const cube = { value, care };
        primes.push({ cube, slots: slotsOf(cube, table.length) });
      }
      if (value === care) break;
    }
  }
  return primes;

  function growable(value: number, care: number): boolean {
    for (let bit = 1; bit <= care; bit <<= 1) {
      if (care & bit && isWithin(value & ~bit, care & ~bit)) return true;
    }
    return false;
  }
}
