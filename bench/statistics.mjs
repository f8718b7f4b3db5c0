/**
 * The middle of a list of numbers; of an even count, the mean of the two in the middle. NaN of none.
 * @param {number[]} list
 */
export function median(list) {
  return quantile(list, 0.5);
}

/**
 * @param {number[]} list
 * @returns {{ median: number, min: number, max: number }}
 */
export function spread(list) {
  return { median: median(list), min: Math.min(...list), max: Math.max(...list) };
}

/**
 * Between the two nearest where it falls between two.
 * @param {number[]} list
 * @param {number} part 0 to 1
 */
export function quantile(list, part) {
  if (list.length === 0) return Number.NaN;
  const sorted = list.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * part;
  const below = sorted[Math.floor(at)];
  return below + (sorted[Math.ceil(at)] - below) * (at - Math.floor(at));
}
