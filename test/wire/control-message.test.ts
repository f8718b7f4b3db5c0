import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  askedFlowsMax,
  type ControlMessage,
  decodeClaim,
  decodeDrained,
  decodeMessage,
  decodeProposal,
  encodeClaim,
  encodeDrained,
  encodeMessage,
  encodeProposal,
  heartbeatFits,
  partBytesMax,
} from '../../src/wire/control-message.ts';
import { bodyBytesMax } from '../../src/wire/envelope.ts';
import { ledgerBytesMax } from '../../src/wire/ledger.ts';

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/);
const u32 = fc.nat(2 ** 32 - 1);
const u48 = fc.nat(2 ** 48 - 1);
const version = fc.record({ term: u48, epoch: u48 }, { noNullPrototype: true });

const heartbeat: fc.Arbitrary<ControlMessage> = fc.record(
  {
    kind: fc.constant('heartbeat' as const),
    round: u48,
    term: u48,
    follow: fc.option(name, { nil: null }),
    coordinating: fc.boolean(),
    leaving: fc.boolean(),
    held: version,
    committed: version,
    basis: version,
    programmed: u48,
    routed: u48,
    incarnation: u48,
    witness: fc.boolean(),
    boot: u48,
    mac: fc.constantFrom('02:00:00:00:00:01', 'ff:ff:ff:ff:ff:ff'),
    healthy: fc.boolean(),
    heard: fc.array(fc.record({ name, round: u48, multicast: fc.boolean() }, { noNullPrototype: true }), {
      maxLength: 40,
    }),
  },
  { noNullPrototype: true },
);
const part: fc.Arbitrary<ControlMessage> = fc.record(
  {
    kind: fc.constant('part' as const),
    content: fc.constantFrom('ledger' as const, 'proposal' as const, 'drained' as const, 'claim' as const),
    transfer: u32,
    length: fc.integer({ min: 1, max: ledgerBytesMax }),
    index: fc.nat(65_535),
    bytes: fc.uint8Array({ maxLength: partBytesMax }),
  },
  { noNullPrototype: true },
);
const flow = fc.record(
  {
    client: fc.oneof(
      fc.record({ family: fc.constant(4 as const), value: fc.bigInt(0n, 2n ** 32n - 1n) }, { noNullPrototype: true }),
      fc.record({ family: fc.constant(6 as const), value: fc.bigInt(0n, 2n ** 128n - 1n) }, { noNullPrototype: true }),
    ),
    clientPort: fc.nat(65_535),
    servicePort: fc.nat(65_535),
  },
  { noNullPrototype: true },
);
const question: fc.Arbitrary<ControlMessage> = fc.record(
  {
    kind: fc.constantFrom('question' as const, 'answer' as const),
    flows: fc.array(flow, { maxLength: askedFlowsMax }),
  },
  { noNullPrototype: true },
);
const routed: fc.Arbitrary<ControlMessage> = fc.record(
  {
    kind: fc.constant('routed' as const),
    members: fc.array(fc.record({ name, epoch: u48 }, { noNullPrototype: true }), { maxLength: 20 }),
  },
  { noNullPrototype: true },
);
const message = fc.oneof(heartbeat, part, question, routed);

describe('a control message', () => {
  test('is read as it was written, from the middle of a dirty buffer too', () => {
    fc.assert(
      fc.property(message, fc.nat(20), (value, offset) => {
        const encoded = encodeMessage(value);
        const dirty = new Uint8Array(offset + encoded.length + 7).fill(0xa5);
        dirty.set(encoded, offset);
        const decoded = decodeMessage(dirty.subarray(offset, offset + encoded.length));
        expect(decoded).toEqual({ ok: true, value });
      }),
    );
  });

  test('is refused when it is cut short or something follows', () => {
    fc.assert(
      fc.property(message, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (value, where) => {
        const encoded = encodeMessage(value);
        expect(decodeMessage(encoded.subarray(0, Math.floor(where * encoded.length))).ok).toBe(false);
        expect(decodeMessage(Uint8Array.from([...encoded, 0])).ok).toBe(false);
      }),
    );
  });

  test('of random bytes is refused or read, never thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const decoded = decodeMessage(bytes);
        if (decoded.ok) expect(encodeMessage(decoded.value)).toEqual(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['a kind that is not known', [9], 'kind: 9, at most 5'],
    ['a part of nothing', [1, 0, 0, 0, 0, 1, 0, 0, 0, 0], 'length: 0 bytes'],
    ['a part of too much', [1, 0, 0, 0, 0, 1, 0xff, 0, 0, 0], 'length: 4278190080 bytes'],
    ['a flag that is neither', [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2], 'coordinating: 2 is neither 0 nor 1'],
    ['a name with blanks', [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 32, 32], 'follow: not a name'],
  ])('with %s is refused by field', (_what, bytes, reason) => {
    expect(decodeMessage(Uint8Array.from(bytes))).toEqual({ ok: false, reason });
  });

  test('fits a signed datagram with 22 of the longest names, and the limit is known', () => {
    const names = (count: number) => Array.from({ length: count }, (_, i) => `${i}`.padStart(32, 'n'));
    expect(heartbeatFits(names(22))).toBe(true);
    expect(heartbeatFits(names(24))).toBe(false);
    const part = { kind: 'part', content: 'ledger', transfer: 1, length: 1024, index: 0 } as const;
    expect(encodeMessage({ ...part, bytes: new Uint8Array(partBytesMax) }).length).toBeLessThanOrEqual(bodyBytesMax);
  });
});

test.each([
  { kind: 'policy' as const, policy: '{"handoff":"reset","strategy":"equal"}' },
  { kind: 'drain' as const, name: 'r2' },
  { kind: 'move' as const, name: 'r1', slots: [1, 2, 9] },
  { kind: 'voters' as const, name: 'r1', instead: 'r4' },
])('a proposal is read as it was written: %o', (content) => {
  const proposal = { seen: 41, policy: '', name: null, instead: null, slots: [], ...content };
  expect(decodeProposal(encodeProposal(proposal))).toEqual({ ok: true, value: proposal });
});

test('a report of drained slots is read as it was written', () => {
  const drained = { seen: 7, slots: [0, 1, 2, 250] };
  expect(decodeDrained(encodeDrained(drained))).toEqual({ ok: true, value: drained });
});

test('the longest question fits a datagram', () => {
  const flow = { client: { family: 6 as const, value: 1n }, clientPort: 1, servicePort: 2 };
  const flows = Array<typeof flow>(askedFlowsMax).fill(flow);
  expect(encodeMessage({ kind: 'question', flows }).length).toBeLessThanOrEqual(bodyBytesMax);
});

test('a claim is read as it was written, and refused when it is cut short', () => {
  const claim = { boot: 7, slots: [0, 1, 2, 9, 65_535] };
  const encoded = encodeClaim(claim);
  expect(decodeClaim(encoded)).toEqual({ ok: true, value: claim });
  expect(decodeClaim(encoded.subarray(0, -1)).ok).toBe(false);
});
