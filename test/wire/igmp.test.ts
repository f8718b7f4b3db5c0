import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ipAddress, parseIp } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { maskedAddressOf, partitionOf } from '../../src/space/partition.ts';
import {
  decodeIgmp,
  encodeKeylessJoin,
  encodeQuery,
  encodeReport,
  encodeUnsignedJoin,
  type IgmpQuery,
  signedPartOf,
  withSignature,
} from '../../src/wire/igmp.ts';
import { decodeIgmpPacket, encodeIgmpPacket, internetChecksum, messageBytesMax } from '../../src/wire/igmp-packet.ts';

function ip(text: string) {
  const parsed = parseIp(text);
  return defined(parsed.ok ? parsed.value : null, text);
}

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

/** The message with its checksum made right again. */
function summed(message: Uint8Array): Uint8Array {
  const bytes = message.slice();
  if (bytes.length < 4) return bytes;
  bytes.set([0, 0], 2);
  const sum = internetChecksum(bytes);
  bytes.set([sum >> 8, sum & 0xff], 2);
  return bytes;
}

const group = ip('239.1.9.9');
const credentials = {
  requester: ip('10.77.0.21'),
  timeMs: 0x0102030405,
  randomKey: hex('000102030405060708090a0b0c0d0e0f'),
  epoch: 7,
  certificate: hex('3003020101'),
};
const filters = {
  permit: [
    { value: ip('0.0.0.1'), mask: ip('0.0.0.3') },
    { value: ip('0.0.0.128'), mask: ip('0.0.0.192') },
  ],
  prohibit: [{ value: ip('0.0.0.5'), mask: ip('0.0.0.7') }],
};
const signature = new Uint8Array(256).fill(0xab);
const unsigned = defined(value(encodeUnsignedJoin('to-exclude', group, filters, credentials)), 'a join that fits');
const join = withSignature(unsigned, signature);

function value<T>(result: { readonly ok: true; readonly value: T } | { readonly ok: false }): T | null {
  return result.ok ? result.value : null;
}

describe('a query', () => {
  test('of version 3 stands as RFC 3376 says', () => {
    const query = {
      ...{ group: null, maxResponseMs: 10_000, suppress: false, robustness: 2, intervalMs: 125_000, sources: [] },
    };
    const golden = hex('11 64 ec1e 00000000 02 7d 0000');
    expect(encodeQuery(query)).toEqual(golden);
    expect(decodeIgmp(golden)).toEqual({ ok: true, value: { kind: 'query', version: 3, ...query } });
  });

  test('is read back as it was written, in steps of its floating-point numbers', () => {
    const ipv4 = fc.nat(2 ** 32 - 1).map((each) => ipAddress(4, BigInt(each)));
    fc.assert(
      fc.property(
        fc.record({
          group: fc.option(ipv4.filter(({ value }) => value > 0n)),
          maxResponseMs: fc.nat(127).map((each) => each * 100),
          suppress: fc.boolean(),
          robustness: fc.nat(7),
          intervalMs: fc.tuple(fc.integer({ min: 16, max: 31 }), fc.nat(7)).map(([m, e]) => (m << (e + 3)) * 1000),
          sources: fc.array(ipv4, { maxLength: 5 }),
        }),
        (query) => {
          expect(decodeIgmp(encodeQuery(query))).toEqual({ ok: true, value: { kind: 'query', version: 3, ...query } });
        },
      ),
    );
  });

  test('never promises more time than was meant', () => {
    fc.assert(
      fc.property(fc.nat(4_000_000), (maxResponseMs) => {
        const rest = { group: null, suppress: false, robustness: 9, intervalMs: 0, sources: [] };
        const read = value(decodeIgmp(encodeQuery({ ...rest, maxResponseMs }))) as IgmpQuery;
        expect(read.maxResponseMs).toBeLessThanOrEqual(maxResponseMs);
        expect(read.maxResponseMs).toBeGreaterThanOrEqual(Math.min(3_174_400, maxResponseMs * 0.94 - 100));
        expect(read.robustness).toBe(0);
      }),
    );
  });

  test.each([
    ['11 00 eeff 00000000', { version: 1, group: null, maxResponseMs: 10_000 }],
    ['11 0a e8ea ef010909 ', { version: 2, group, maxResponseMs: 1000 }],
    ['11 64 ec1e 00000000 02 7d 0000 ffff0000', { version: 3, group: null, maxResponseMs: 10_000 }],
  ])('of another version, or with more behind it, is read: %s', (bytes, query) => {
    expect(decodeIgmp(summed(hex(bytes)))).toMatchObject({ ok: true, value: { kind: 'query', ...query } });
  });

  test('of 9 to 11 bytes is none', () => {
    expect(decodeIgmp(summed(hex('11 64 0000 00000000 02 7d')))).toEqual({ ok: false, reason: 'query: 10 bytes' });
  });
});

describe('a report', () => {
  test('of a Linux host is read: two groups, with sources, and what follows is ignored', () => {
    const report = summed(hex('22 00 0000 0000 0002 04000000 ef010909 01000001 e00000fb 0a4d0001 beef'));
    expect(decodeIgmp(report)).toEqual({
      ok: true,
      value: {
        kind: 'report',
        records: [
          { type: 'to-exclude', group, sources: [] },
          { type: 'is-include', group: ip('224.0.0.251'), sources: [ip('10.77.0.1')] },
        ],
        extension: null,
      },
    });
  });

  test('without a signature is written, with and without filters', () => {
    expect(value(encodeReport('is-exclude', group, null))).toEqual(hex('22 00 e3f3 0000 0001 02000000 ef010909'));
    const permitAll = { permit: [{ value: ip('0.0.0.0'), mask: ip('0.0.0.0') }], prohibit: [] };
    const encoded = defined(value(encodeReport('is-exclude', group, permitAll)), 'a report');
    expect(decodeIgmp(encoded)).toMatchObject({
      ok: true,
      value: { extension: { filters: permitAll, authentication: null } },
    });
  });

  test('of one who has no key says its epoch too, and has no signature', () => {
    const permitAll = { permit: [{ value: ip('0.0.0.0'), mask: ip('0.0.0.0') }], prohibit: [] };
    const { certificate: _, ...said } = credentials;
    const encoded = defined(value(encodeKeylessJoin('to-exclude', group, permitAll, said)), 'a join');
    const authentication = { ...said, certificate: new Uint8Array(), signature: new Uint8Array() };
    expect(decodeIgmp(encoded)).toMatchObject({
      ok: true,
      value: { extension: { filters: permitAll, authentication } },
    });
    expect(decodeIgmp(summed(Uint8Array.from([...encoded, 0])))).toMatchObject({ ok: false });
  });

  test('is refused with an epoch that no ledger has', () => {
    const encodedOf = (epoch: number) =>
      defined(
        value(encodeUnsignedJoin('to-exclude', group, { permit: [], prohibit: [] }, { ...credentials, epoch })),
        'a join',
      );
    expect(decodeIgmp(withSignature(encodedOf(2 ** 48 - 1), signature))).toMatchObject({ ok: true });
    expect(decodeIgmp(withSignature(encodedOf(2 ** 48), signature))).toEqual({
      ok: false,
      reason: 'epoch: 281474976710656, at most 281474976710655',
    });
  });

  test.each([
    ['12 00 0000 ef010909', 'v1-report'],
    ['16 00 0000 ef010909', 'v2-report'],
    ['17 00 0000 ef010909', 'v2-leave'],
  ])('of an older version is known as such: %s', (bytes, type) => {
    expect(decodeIgmp(summed(hex(bytes)))).toEqual({ ok: true, value: { kind: 'old-report', type, group } });
  });
});

describe('a join', () => {
  test('has a layout that stays', () => {
    expect(join).toEqual(
      Uint8Array.from([
        ...hex('22 00 0000 8000 0001 04000000 ef010909'.replace('0000 8000', `${hexOf(join.slice(2, 4))} 8000`)),
        // The mask has 5 bits: 0, 1, 2, 6 and 7 of the last byte.
        ...hex('ffff 000e 000000c7 0002 01 03 10 18 0001 05 07'),
        ...hex('fffe 012b 0a4d0015 0000000102030405 000102030405060708090a0b0c0d0e0f 0000000000000007 0005 3003020101'),
        ...signature,
      ]),
    );
    expect(internetChecksum(join)).toBe(0);
    expect(signedPartOf(join)).toEqual(unsigned);
  });

  test('is read back as it was written, of up to 16 bits anywhere in the address', () => {
    const drawn = fc.uniqueArray(fc.nat(31), { minLength: 1, maxLength: 16 }).chain((bits) => {
      const mask = ipAddress(
        4,
        bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n),
      );
      const partition = defined(value(partitionOf(mask)), 'a partition');
      const filter = fc.tuple(fc.nat(2 ** 16), fc.nat(2 ** 16)).map(([wanted, care]) => ({
        value: maskedAddressOf(partition, wanted & care),
        mask: maskedAddressOf(partition, care),
      }));
      return fc.record({ permit: fc.array(filter, { maxLength: 40 }), prohibit: fc.array(filter, { maxLength: 9 }) });
    });
    fc.assert(
      fc.property(
        drawn,
        fc.constantFrom('is-exclude', 'to-include'),
        fc.nat(Number.MAX_SAFE_INTEGER),
        fc.nat(2 ** 48 - 1),
        fc.uint8Array({ minLength: 1, maxLength: 900 }),
        (drawnFilters, type, timeMs, epoch, certificate) => {
          const signedBy = { ...credentials, timeMs, epoch, certificate };
          const bytes = defined(value(encodeUnsignedJoin(type, group, drawnFilters, signedBy)), 'a join that fits');
          const message = withSignature(bytes, signature);
          expect(decodeIgmp(message)).toEqual({
            ok: true,
            value: {
              kind: 'report',
              records: [{ type, group, sources: [] }],
              extension: { filters: drawnFilters, authentication: { ...signedBy, signature } },
            },
          });
          expect(signedPartOf(message)).toEqual(bytes);
        },
      ),
    );
  });

  test('of 60 filters and the longest certificate fits one packet, and of 512 does not', () => {
    const some = (count: number) => ({
      permit: Array.from({ length: count }, (_, i) => ({ value: ip(`0.0.0.${i % 256}`), mask: ip('0.0.0.255') })),
      prohibit: [],
    });
    const certificate = new Uint8Array(1000);
    expect(encodeUnsignedJoin('is-exclude', group, some(60), { ...credentials, certificate }).ok).toBe(true);
    expect(encodeUnsignedJoin('is-exclude', group, some(512), { ...credentials, certificate })).toEqual({
      ok: false,
      reason: `the join has 2350 bytes, at most ${messageBytesMax} fit one packet: too many filters`,
    });
  });

  test('may carry extensions of others, which are skipped', () => {
    const foreign = hex('0001 0003 aabbcc 0000 0000');
    const message = summed(Uint8Array.from([...join.slice(0, 16), ...foreign, ...join.slice(16)]));
    expect(decodeIgmp(message)).toEqual(decodeIgmp(join));
    const only = summed(Uint8Array.from([...join.slice(0, 16), ...foreign]));
    expect(decodeIgmp(only)).toMatchObject({ ok: true, value: { extension: { filters: null, authentication: null } } });
  });
});

describe('is refused by what is wrong:', () => {
  const at = (offset: number, ...bytes: number[]) => {
    const changed = join.slice();
    changed.set(bytes, offset);
    return summed(changed);
  };
  test.each([
    ['a wrong checksum', Uint8Array.from([...join.slice(0, -1), 0]), 'checksum: wrong'],
    ['another type', at(0, 0x23), 'type: 35 is not known'],
    ['auxiliary data', at(9, 1), 'auxiliary data: there is some, and none is defined'],
    ['another type of record', at(8, 7), 'record type: 7 is not known'],
    ['two records with an extension', at(6, 0, 2), 'records: 2, an extended report has one'],
    ['more records than fit', at(4, 0, 0, 0xff, 0xff), 'records: 65535, at most 183'],
    ['more sources than there are', at(10, 0x01, 0x00), 'sources: 256, 321 bytes left'],
    ['more sources than fit', at(10, 0xff, 0xff), 'sources: 65535, at most 366'],
    ['an extension that is cut', at(18, 0xff, 0xff), 'extension 65535: 65535 bytes, 317 left'],
    [
      'filters of more than 16 bits',
      at(20, 0, 1, 255, 255),
      'filters: partition mask 0.1.255.255 has 17 bits, allowed are 0 to 16',
    ],
    ['more filters than allowed', at(24, 2, 1), 'permit: 513 items, at most 512'],
    ['a filter that looks elsewhere', at(27, 0x20), 'permit[0]: looks at a bit that is not in the mask'],
    ['a filter that wants what it does not look at', at(26, 4), 'permit[0]: wants a bit that it does not look at'],
    ['filters that are shorter than they say', at(31, 0), 'filters: not 14 bytes long, as they say'],
    ['a time that is no exact number', at(42, 0, 0x20), 'time: above 2^53'],
    ['a certificate that is too long', at(74, 4, 0xb1), 'certificate: 1201 bytes, at most 1200'],
    [
      'something after the signature',
      summed(Uint8Array.from([...join, 0, 1, 0, 0])),
      'authentication: something comes after it',
    ],
    ['no extension', summed(join.slice(0, 16)), 'extension: none, but the E flag is set'],
    ['too many bytes', new Uint8Array(messageBytesMax + 1), `message: more than ${messageBytesMax} bytes`],
    ['too few bytes', new Uint8Array(7), 'message: less than 8 bytes'],
  ])('%s', (_what, message, reason) => {
    expect(decodeIgmp(message)).toEqual({ ok: false, reason });
  });

  test('a join without any one of its last bytes', () => {
    for (let length = 0; length < join.length; length++) {
      if (length === 16 + 18) continue; // Filters without an authentication are whole.
      expect(decodeIgmp(summed(join.slice(0, length))).ok, `${length} bytes`).toBe(false);
    }
  });

  test('a second list of filters', () => {
    const twice = summed(Uint8Array.from([...join.slice(0, 34), ...join.slice(16)]));
    expect(decodeIgmp(twice)).toEqual({ ok: false, reason: 'filters: they come twice' });
  });

  test('anything at all, without a throw', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void decodeIgmp(summed(bytes))));
  });
});

describe('the packet', () => {
  const packet = encodeIgmpPacket({ source: ip('10.77.0.21'), destination: ip('224.0.0.22'), message: hex('22 00') });

  test('has time to live 1, the router alert and a checksum', () => {
    expect(packet).toEqual(hex('46c0001a 00000000 0102 39a6 0a4d0015 e0000016 94040000 2200'));
  });

  test('is read back, with padding behind it', () => {
    const read = {
      ok: true,
      value: { source: ip('10.77.0.21'), destination: ip('224.0.0.22'), message: hex('2200') },
    };
    expect(decodeIgmpPacket(packet)).toEqual(read);
    expect(decodeIgmpPacket(Uint8Array.from([...packet, 0, 0, 0, 0]))).toEqual(read);
  });

  test.each([
    [0, 0x65, 'version: 6, only 4 is known'],
    [0, 0x44, 'header length: 16 bytes, at least 20'],
    [0, 0x4f, 'header length: 60 bytes of 26'],
    [3, 0xff, 'total length: 255 bytes, 26 are there'],
    [6, 0x20, 'fragment: a join is never fragmented'],
    [8, 2, 'time to live: 2, only 1 is of this link'],
    [9, 17, 'protocol: 17, only 2 is known'],
    [16, 10, 'destination: not a multicast address'],
  ])('is refused with another byte %i', (offset, byte, reason) => {
    const changed = packet.slice();
    changed[offset] = byte;
    expect(decodeIgmpPacket(changed)).toEqual({ ok: false, reason });
  });

  test('of any bytes throws nothing', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void decodeIgmpPacket(bytes)));
    expect(decodeIgmpPacket(new Uint8Array(1501)).ok).toBe(false);
  });
});

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
