/**
 * Runs every way once in each round, the order turned by one each round and every other round backwards, so that what else the machine does, and what the way before leaves behind, falls on all alike.
 * What fails, fails the whole.
 * @template T
 * @param {Record<string, () => Promise<T>>} ways
 * @param {number} rounds
 * @param {(text: string) => void} say
 * @returns {Promise<Record<string, T[]>>} of each way what it gave in each round, in the order of the rounds
 */
export async function interleaved(ways, rounds, say) {
  const names = Object.keys(ways);
  const results = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const at = (i + round) % names.length;
      const name = names[round % 2 === 0 ? at : names.length - 1 - at];
      say(`round ${round + 1} of ${rounds}: ${name}`);
      results[name].push(await ways[name]());
    }
  }
  return results;
}
