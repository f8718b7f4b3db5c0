import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatIp, addressOf as ip, ipAddress, widthOf } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import {
  accepts,
  formatFilter,
  formatSlots,
  maskedAddressOf,
  type Partition,
  parseSlots,
  partitionOf,
  slotOf,
} from '../../src/space/index.ts';

function partition(mask: string): Partition {
  const made = partitionOf(ip(mask));
  return defined(made.ok ? made.value : null, mask);
}

describe('a partition', () => {
  // Figures 9 to 11 of the source: the last bits, other bits, scattered bits.
  test.each([
    ['0.0.0.7', '198.51.100.13', 5],
    ['0.0.0.255', '198.51.100.13', 13],
    ['0.0.255.0', '198.51.100.13', 100],
    ['224.0.0.0', '198.51.100.13', 6],
    ['0.2.0.9', '10.2.0.1', 0b101],
    ['0.0.0.0', '198.51.100.13', 0],
    ['::ff', '2001:db8::1234', 0x34],
    ['0:0:0:3::', '2001:db8:0:2::1', 2],
    ['8000::1:0:1', '2001:db8::1:0:1', 0b011],
    ['8000::1:0:1', 'fe80::1', 0b101],
  ])('by mask %s puts %s into slot %i', (mask, client, slot) => {
    expect(slotOf(partition(mask), ip(client))).toBe(slot);
  });

  test('of more than 16 bits is refused', () => {
    expect(partitionOf(ip('0.1.255.255'))).toEqual({
      ok: false,
      reason: 'partition mask 0.1.255.255 has 17 bits, allowed are 0 to 16',
    });
    expect(partitionOf(ip('0.0.255.255')).ok).toBe(true);
    expect(partitionOf(ip('ffff::1')).ok).toBe(false);
  });

  const masks = fc
    .tuple(fc.constantFrom(4 as const, 6 as const), fc.uniqueArray(fc.nat(127), { maxLength: 16 }))
    .map(([family, bits]) =>
      ipAddress(
        family,
        bits.reduce((mask, bit) => mask | (1n << BigInt(bit % widthOf(family))), 0n),
      ),
    );

  test('gives every slot an address of its own under the mask, whatever the mask', () => {
    fc.assert(
      fc.property(masks, fc.nat(65_535), (mask, number) => {
        const made = partitionOf(mask);
        if (!made.ok) return false;
        const slot = number % made.value.slotCount;
        const masked = maskedAddressOf(made.value, slot);
        return slotOf(made.value, masked) === slot && (masked.value & ~mask.value) === 0n;
      }),
    );
  });
});

describe('a client', () => {
  const masksAndClients = fc.record({
    bits: fc.uniqueArray(fc.nat(127), { maxLength: 16 }),
    value: fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }),
  });

  test('is in the slot whose masked address is its own', () => {
    fc.assert(
      fc.property(masksAndClients, ({ bits, value }) => {
        const mask = bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
        const cut = partition(formatIp(ipAddress(6, mask)));
        const slot = slotOf(cut, ipAddress(6, value));
        expect(slot).toBeLessThan(cut.slotCount);
        expect(maskedAddressOf(cut, slot)).toEqual(ipAddress(6, value & mask));
      }),
    );
  });
});

describe('a filter', () => {
  const filter = { value: ip('0.0.0.4'), mask: ip('0.0.0.7') };

  test('accepts by the bits of its mask alone', () => {
    expect(accepts(filter, ip('198.51.100.12'))).toBe(true);
    expect(accepts(filter, ip('198.51.100.13'))).toBe(false);
  });

  test('accepts nothing of the other family', () => {
    expect(accepts(filter, ip('::4'))).toBe(false);
  });

  test('is written value/mask', () => {
    expect(formatFilter(filter)).toBe('0.0.0.4/0.0.0.7');
    expect(formatIp(filter.mask)).toBe('0.0.0.7');
  });
});

describe('slots as text', () => {
  test.each([
    [[], ''],
    [[7], '7'],
    [[3, 1, 2, 2], '1-3'],
    [[0, 1, 2, 3, 70, 128, 129], '0-3,70,128-129'],
  ])('%j is "%s"', (slots, text) => {
    expect(formatSlots(slots)).toBe(text);
  });

  test.each([
    ['5-3', '"5-3" is not a slot or a range of slots such as "0-63"'],
    ['a', '"a" is not a slot or a range of slots such as "0-63"'],
    ['-1', '"-1" is not a slot or a range of slots such as "0-63"'],
    ['1,2;3', '"2;3" is not a slot or a range of slots such as "0-63"'],
    ['1-2-3', '"1-2-3" is not a slot or a range of slots such as "0-63"'],
    ['0x10', '"0x10" is not a slot or a range of slots such as "0-63"'],
    ['1\n2', '"1\\u000a2" is not a slot or a range of slots such as "0-63"'],
    ['x'.repeat(9999), `"${'x'.repeat(60)}…" is not a slot or a range of slots such as "0-63"`],
    ['9999999', '"9999999" is not a slot or a range of slots such as "0-63"'],
    ['0-256', 'slot 256 does not exist, allowed are 0 to 255'],
  ])('"%s" is refused', (text, reason) => {
    expect(parseSlots(text, 256)).toEqual({ ok: false, reason });
  });

  test.each([
    ['', []],
    [' 3 , 1-2 ,', [1, 2, 3]],
    ['4-6,0-5,5,6', [0, 1, 2, 3, 4, 5, 6]],
  ])('"%s" is %j, each slot once and ascending', (text, slots) => {
    expect(parseSlots(text, 256)).toEqual({ ok: true, value: slots });
  });

  test('reads back', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(255)), (slots) => {
        const sorted = [...slots].sort((a, b) => a - b);
        expect(parseSlots(formatSlots(slots), 256)).toEqual({ ok: true, value: sorted });
      }),
    );
  });
});
