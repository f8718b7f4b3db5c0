import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import {
  accepts,
  coverSlots,
  formatFilter,
  maskedAddressOf,
  type Partition,
  partitionOf,
} from '../../src/space/index.ts';

function partitionBy(mask: bigint, family: 4 | 6 = 4): Partition {
  const made = partitionOf(ipAddress(family, mask));
  return defined(made.ok ? made.value : null, 'a partition');
}

/** What a list of filters accepts, slot by slot; bits outside the mask must not matter. */
function acceptedBy(partition: Partition, slots: Iterable<number>, outside = 0n): number[] {
  const filters = coverSlots(partition, slots);
  return Array.from({ length: partition.slotCount }, (_, slot) => slot).filter((slot) => {
    const { family, value } = maskedAddressOf(partition, slot);
    const client = ipAddress(family, value | (outside & ~partition.mask.value));
    return filters.some((filter) => accepts(filter, client));
  });
}

const masks = fc
  .uniqueArray(fc.nat(31), { maxLength: 8 })
  .map((bits) => bits.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n));
const masksAndSlots = masks.chain((mask) => {
  const partition = partitionBy(mask);
  const slots = fc.uniqueArray(fc.nat(partition.slotCount - 1), { maxLength: partition.slotCount });
  return fc.record({ partition: fc.constant(partition), slots });
});

describe('the cover of a share', () => {
  test('accepts exactly its slots, whatever the mask and the rest of the address', () => {
    fc.assert(
      fc.property(masksAndSlots, fc.bigInt({ min: 0n, max: 0xffffffffn }), ({ partition, slots }, outside) => {
        expect(acceptedBy(partition, slots, outside)).toEqual([...slots].sort((a, b) => a - b));
      }),
    );
  });

  test('accepts no client of another share', () => {
    const shares = fc.array(fc.constantFrom('r1', 'r2', 'r3'), { minLength: 64, maxLength: 64 });
    const partition = partitionBy(0x90_0f_00n);
    fc.assert(
      fc.property(shares, (owners) => {
        const of = (name: string): number[] => owners.flatMap((owner, slot) => (owner === name ? [slot] : []));
        const accepted = ['r1', 'r2', 'r3'].flatMap((name) => acceptedBy(partition, of(name)));
        expect(accepted.sort((a, b) => a - b)).toEqual([...owners.keys()]);
      }),
    );
  });

  test('needs no more filters than slots, and is the same for the same set', () => {
    fc.assert(
      fc.property(masksAndSlots, ({ partition, slots }) => {
        const once = coverSlots(partition, slots).map(formatFilter);
        expect(once.length).toBeLessThanOrEqual(slots.length);
        expect(coverSlots(partition, [...slots].reverse()).map(formatFilter)).toEqual(once);
      }),
    );
  });

  test('is the shortest there is, for every set of 8 slots', () => {
    const partition = partitionBy(7n);
    for (const [set, length] of shortestLengths(8).entries()) {
      const slots = [...Array(8).keys()].filter((slot) => (set >> slot) & 1);
      expect(coverSlots(partition, slots).length, `slots ${slots}`).toBe(length);
    }
  });

  test('is the shortest there is, for sets of 16 slots under scattered bits', () => {
    const partition = partitionBy(0x80_04_01_10n);
    const shortest = shortestLengths(16);
    fc.assert(
      fc.property(fc.nat(65_535), (set) => {
        const slots = [...Array(16).keys()].filter((slot) => (set >> slot) & 1);
        expect(coverSlots(partition, slots)).toHaveLength(defined(shortest[set], 'a length'));
      }),
      { numRuns: 1000 },
    );
  });

  test('has no filter that could be left out', () => {
    fc.assert(
      fc.property(masksAndSlots, ({ partition, slots }) => {
        const filters = coverSlots(partition, slots);
        for (const filter of filters) {
          const others = filters.filter((other) => other !== filter);
          const needs = (slot: number): boolean => {
            const client = maskedAddressOf(partition, slot);
            return accepts(filter, client) && !others.some((other) => accepts(other, client));
          };
          expect(slots.some(needs), formatFilter(filter)).toBe(true);
        }
      }),
    );
  });

  test('of every slot is one filter that looks at nothing, whatever the mask', () => {
    fc.assert(
      fc.property(masks, (mask) => {
        const partition = partitionBy(mask);
        expect(coverSlots(partition, Array(partition.slotCount).keys()).map(formatFilter)).toEqual(['0.0.0.0/0.0.0.0']);
      }),
    );
  });

  test('looks at no bit outside the partition mask', () => {
    fc.assert(
      fc.property(masksAndSlots, ({ partition, slots }) => {
        for (const { value, mask } of coverSlots(partition, slots)) {
          expect([mask.value & ~partition.mask.value, value.value & ~mask.value]).toEqual([0n, 0n]);
        }
      }),
    );
  });

  test.each([
    ['nothing', [], []],
    ['everything', [...Array(256).keys()], ['0.0.0.0/0.0.0.0']],
    ['the even slots', [...Array(128).keys()].map((slot) => 2 * slot), ['0.0.0.0/0.0.0.1']],
    ['one quarter', [...Array(64).keys()].map((slot) => 64 + slot), ['0.0.0.64/0.0.0.192']],
    ['one slot', [200], ['0.0.0.200/0.0.0.255']],
  ])('of %s', (_what, slots, filters) => {
    expect(coverSlots(partitionBy(0xffn), slots).map(formatFilter)).toEqual(filters);
  });

  test('of a set that two cubes cover is found where a greedy choice takes three', () => {
    // The largest block of 0-5 is 0-3; 4-5 grows to 0-1,4-5. A ring of six slots has no square, three edges make it up.
    expect(coverSlots(partitionBy(7n), [0, 1, 2, 3, 4, 5])).toHaveLength(2);
    expect(coverSlots(partitionBy(7n), [1, 3, 5, 7, 6, 2])).toHaveLength(2);
    expect(coverSlots(partitionBy(7n), [1, 3, 2, 6, 4, 5])).toHaveLength(3);
  });

  test('is never longer than the list of aligned blocks', () => {
    fc.assert(
      fc.property(masksAndSlots, ({ partition, slots }) => {
        const blocks = alignedBlocks(new Set(slots), 0, partition.slotCount);
        expect(coverSlots(partition, slots).length).toBeLessThanOrEqual(blocks);
      }),
    );
  });

  test('of a slot that does not exist is a defect of the caller', () => {
    expect(() => coverSlots(partitionBy(7n), [8])).toThrow('slot 8 exists');
    expect(() => coverSlots(partitionBy(7n), [-1])).toThrow('slot -1 exists');
  });

  test('works for 65,536 slots, of IPv6 too', () => {
    const partition = partitionBy(0xffffn, 6);
    const third = [...Array(21_846).keys()];
    expect(coverSlots(partition, third).length).toBeLessThanOrEqual(16);
    expect(acceptedBy(partition, third)).toEqual(third);
    const odd = [...Array(32_768).keys()].map((slot) => 2 * slot + 1);
    expect(coverSlots(partition, odd).map(formatFilter)).toEqual(['::1/::1']);
  });
});

/** How many blocks of 2^n slots at multiples of 2^n make up the set, as address prefixes would. */
function alignedBlocks(slots: ReadonlySet<number>, start: number, size: number): number {
  const held = Array.from({ length: size }, (_, i) => slots.has(start + i));
  if (!held.includes(true)) return 0;
  if (!held.includes(false)) return 1;
  return alignedBlocks(slots, start, size / 2) + alignedBlocks(slots, start + size / 2, size / 2);
}

/** By brute force: the fewest cubes that make up each set of so many slots, by the set as a number. */
function shortestLengths(slotCount: number): number[] {
  const cubes: number[] = [];
  for (let care = 0; care < slotCount; care++) {
    for (let value = 0; value < slotCount; value++) {
      if (value & ~care) continue;
      cubes.push(
        [...Array(slotCount).keys()].reduce((set, slot) => ((slot & care) === value ? set | (1 << slot) : set), 0),
      );
    }
  }
  const lengths = Array<number>(2 ** slotCount).fill(Number.POSITIVE_INFINITY);
  lengths[0] = 0;
  let reached = [0];
  for (let count = 1; reached.length > 0; count++) {
    const next = new Set(reached.flatMap((set) => cubes.map((cube) => set | cube)));
    reached = [...next].filter((set) => lengths[set] === Number.POSITIVE_INFINITY);
    for (const set of reached) lengths[set] = count;
  }
  return lengths;
}
