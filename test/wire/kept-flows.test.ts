import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { decodeKept, decodeKnown, encodeKept, encodeKnown, keptMax } from '../../src/wire/kept-flows.ts';

const u48 = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const port = fc.nat(65_535);
const flow = fc.record(
  { client: fc.nat(0xffff_ffff).map((value) => ipAddress(4, BigInt(value))), clientPort: port, servicePort: port },
  { noNullPrototype: true },
);
const slots = fc.uniqueArray(fc.nat(65_535), { maxLength: 40 }).map((all) => all.sort((a, b) => a - b));
const kept = fc.record({ number: u48, slots, flows: fc.array(flow, { maxLength: 40 }) }, { noNullPrototype: true });
const known = fc.record({ session: u48, number: u48 }, { noNullPrototype: true });

describe('what a holder keeps', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(kept, known, (said, answer) => {
        expect(decodeKept(encodeKept(said))).toEqual({ ok: true, value: said });
        expect(decodeKnown(encodeKnown(answer))).toEqual({ ok: true, value: answer });
      }),
    );
  });

  test('is refused when it is cut short or something follows', () => {
    fc.assert(
      fc.property(kept, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (value, where) => {
        const encoded = encodeKept(value);
        expect(decodeKept(encoded.subarray(0, Math.floor(where * encoded.length))).ok).toBe(false);
        expect(decodeKept(Uint8Array.from([...encoded, 0])).ok).toBe(false);
      }),
    );
  });

  test('of random bytes is refused or read, never thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const said = decodeKept(bytes);
        if (said.ok) expect(said.value.flows.length).toBeLessThanOrEqual(keptMax);
        const answer = decodeKnown(bytes);
        if (answer.ok) expect(encodeKnown(answer.value)).toEqual(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  test('is refused when it is more than anybody keeps', () => {
    const flows = Array.from({ length: keptMax }, (_, i) => ({
      client: ipAddress(4, BigInt(i)),
      ...{ clientPort: 1, servicePort: 53 },
    }));
    const most = encodeKept({ number: 1, slots: [], flows });
    expect(decodeKept(most).ok).toBe(true);
    const more = Uint8Array.from([...most, ...most.subarray(-8)]);
    new DataView(more.buffer).setUint16(8, keptMax + 1);
    expect(decodeKept(more)).toEqual({ ok: false, reason: 'flows: 16385 items, at most 16384' });
  });
});
