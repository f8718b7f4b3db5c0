import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { decodeMessage, encodeMessage } from '../../src/wire/control-message.ts';
import { decodeTags, encodeTags, taggedMax, tagsBytesMax } from '../../src/wire/tagged-flows.ts';

const u48 = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const port = fc.nat(65_535);
const flow = fc.record(
  { client: fc.nat(0xffff_ffff).map((value) => ipAddress(4, BigInt(value))), clientPort: port, servicePort: port },
  { noNullPrototype: true },
);
const tags = fc.record(
  { number: u48, isWhole: fc.boolean(), flows: fc.array(flow, { maxLength: 40 }) },
  { noNullPrototype: true },
);

describe('what a replica says to routers of its flows', () => {
  test('is read as it was written, and so is the answer', () => {
    fc.assert(
      fc.property(tags, u48, u48, (said, session, number) => {
        expect(decodeTags(encodeTags(said))).toEqual({ ok: true, value: said });
        const answer = { kind: 'tagged', session, number } as const;
        expect(decodeMessage(encodeMessage(answer))).toEqual({ ok: true, value: answer });
      }),
    );
  });

  test('is refused when it is cut short or something follows', () => {
    fc.assert(
      fc.property(tags, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (value, where) => {
        const encoded = encodeTags(value);
        expect(decodeTags(encoded.subarray(0, Math.floor(where * encoded.length))).ok).toBe(false);
        expect(decodeTags(Uint8Array.from([...encoded, 0])).ok).toBe(false);
      }),
    );
  });

  test('has room for as many flows as a replica may name, and for no more', () => {
    const flows = Array.from({ length: taggedMax }, (_, i) => ({
      client: ipAddress(4, BigInt(i)),
      clientPort: 1,
      servicePort: 80,
    }));
    const encoded = encodeTags({ number: 1, isWhole: true, flows });
    expect(encoded.length).toBe(tagsBytesMax);
    const tooMany = encoded.slice();
    tooMany.set([(taggedMax + 1) >> 8, (taggedMax + 1) & 255], 7);
    expect(decodeTags(Uint8Array.from([...tooMany, ...new Uint8Array(8)])).ok).toBe(false);
  });
});
