import type { IpAddress } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { type Cube, irredundantCover } from './cube.ts';
import type { Filter } from './filter.ts';
import { maskedAddressOf, type Partition } from './partition.ts';
import { shortestCover } from './shortest-cover.ts';

/** Up to this many slot bits the shortest list is searched for. */
const exactBitsMax = 8;

/**
 * The smallest list of filters that accept the clients of exactly these slots (figure 7C); ordered by slot, the same for the same set. Up
 * to 8 slot bits it is the shortest there is, unless the search would take longer than its budget of steps allows (large sets without
 * any order in them, such as 128 slots of 256 drawn by lot); then, and above 8 bits, it is a list from which no filter can be left out.
 */
export function coverSlots(partition: Partition, slots: Iterable<number>): Filter[] {
  const table = new Uint8Array(partition.slotCount);
  for (const slot of slots) {
    assert(table[slot] !== undefined, `slot ${slot} exists`);
    table[slot] = 1;
  }
  const found = irredundantCover(table, table);
  const cubes = partition.bits.length <= exactBitsMax ? shortestCover(table, found) : found;
  return [...cubes].sort((a, b) => a.value - b.value || a.care - b.care).map((cube) => filterOf(partition, cube));
}

function filterOf(partition: Partition, { value, care }: Cube): Filter {
  const mask: IpAddress = maskedAddressOf(partition, care);
  return { value: maskedAddressOf(partition, value), mask };
}
