import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type DnsMessage,
  type DnsRecord,
  decodeDns,
  encodeDns,
  formatError,
  noFlags,
  responseCode,
} from '../../src/wire/dns.ts';
import {
  certificateData,
  nameData,
  readCertificateData,
  readNameData,
  readStartData,
  readTextData,
  recordType,
  startData,
  textData,
} from '../../src/wire/dns-data.ts';
import { isName, isWithin, nameAt, nameBytes } from '../../src/wire/dns-name.ts';

const label = fc
  .uint8Array({ minLength: 1, maxLength: 12 })
  .map((bytes) =>
    [...bytes].map((byte) => (byte % 3 ? String.fromCharCode(97 + (byte % 26)) : escaped(byte))).join(''),
  );
const name = fc.array(label, { maxLength: 5 }).map((labels) => labels.join('.'));
const data = fc.oneof(
  name.map((each) => ({ type: recordType.PTR as number, data: nameData(each) })),
  fc.array(fc.string({ maxLength: 40 })).map((each) => ({ type: recordType.TXT as number, data: textData(each) })),
  fc.uint8Array({ maxLength: 90 }).map((bytes) => ({ type: recordType.CERT as number, data: certificateData(bytes) })),
  fc.tuple(name, name, fc.nat()).map(([server, contact, serial]) => ({
    type: recordType.SOA as number,
    data: startData({ server, contact, serial, refresh: 1, retry: 2, expire: 3, minimum: 4 }),
  })),
);
const record: fc.Arbitrary<DnsRecord> = fc
  .tuple(name, data, fc.nat(0xffff), fc.nat())
  .map(([each, { type, data }, ofClass, ttl]) => ({ name: each, type, class: ofClass, ttl, data }));
const records = fc.array(record, { maxLength: 4 });
const message: fc.Arbitrary<DnsMessage> = fc.record({
  id: fc.nat(0xffff),
  isResponse: fc.boolean(),
  opcode: fc.nat(15),
  flags: fc.record({
    ...{ authoritative: fc.boolean(), truncated: fc.boolean(), recursionDesired: fc.boolean() },
    ...{ recursionAvailable: fc.boolean(), authenticData: fc.boolean(), checkingDisabled: fc.boolean() },
  }),
  responseCode: fc.nat(15),
  questions: fc.array(fc.record({ name, type: fc.nat(0xffff), class: fc.nat(0xffff) }), { maxLength: 2 }),
  ...{ answers: records, authorities: records, additionals: records },
  edns: fc.option(
    fc.record({ payloadBytes: fc.integer({ min: 512, max: 0xffff }), version: fc.nat(255), dnssecOk: fc.boolean() }),
  ),
});

function escaped(byte: number): string {
  const character = String.fromCharCode(byte);
  return /[A-Za-z0-9_-]/.test(character) ? character : `\\${byte.toString().padStart(3, '0')}`;
}

const question: DnsMessage = {
  ...{ id: 7, isResponse: false, opcode: 0, flags: { ...noFlags, recursionDesired: true }, responseCode: 0 },
  questions: [{ name: 'Web.Example.org', type: recordType.TXT, class: 1 }],
  ...{ answers: [], authorities: [], additionals: [], edns: null },
};

describe('messages of DNS', () => {
  test('are read as they were written', () => {
    fc.assert(
      fc.property(message, (each) => {
        expect(decodeDns(encodeDns(each))).toEqual({ ok: true, value: each });
      }),
    );
  });

  test('have the bytes of RFC 1035, the case as it came, and the end of the question for names', () => {
    const answer = { name: 'Example.org', type: recordType.A, class: 1, ttl: 5, data: Uint8Array.of(1, 2, 3, 4) };
    const bytes = encodeDns({ ...question, answers: [answer] });
    expect(Buffer.from(bytes).toString('latin1')).toBe(
      '\x00\x07\x01\x00\x00\x01\x00\x01\x00\x00\x00\x00\x03Web\x07Example\x03org\x00\x00\x10\x00\x01' +
        '\xc0\x10\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x01\x02\x03\x04',
    );
  });

  test('carry 12 bits of response code with EDNS', () => {
    const edns = { payloadBytes: 1232, version: 0, dnssecOk: true };
    const bytes = encodeDns({ ...question, responseCode: responseCode.badVersion, edns });
    expect(decodeDns(bytes)).toMatchObject({ value: { responseCode: 16, edns } });
  });

  test('that are too long for their way go without records, marked as truncated, EDNS kept', () => {
    const answer = { name: 'x', type: recordType.TXT, class: 1, ttl: 5, data: textData(['x'.repeat(200)]) };
    const edns = { payloadBytes: 1232, version: 0, dnssecOk: false };
    const long = { ...question, answers: [answer, answer, answer], edns };
    expect(decodeDns(encodeDns(long, 700))).toEqual({ ok: true, value: long });
    const cut = decodeDns(encodeDns(long, 512));
    const flags = { ...question.flags, truncated: true };
    expect(cut).toEqual({ ok: true, value: { ...long, flags, answers: [] } });
  });

  test('are refused with the reason when they are damaged', () => {
    const bytes = encodeDns(question);
    const refusal = (changed: Uint8Array): string => {
      const read = decodeDns(changed);
      return read.ok ? '' : read.reason;
    };
    expect(refusal(bytes.subarray(0, 20))).toBe('name: it ends within the message');
    expect(refusal(Uint8Array.of(...bytes, 0))).toBe('1 bytes left over');
    expect(refusal(Buffer.from('000700000101000000000000', 'hex'))).toBe('257 records, at most 256');
    expect(refusal(Buffer.from('000700000001000000000000c00c00010001', 'hex'))).toBe(
      'name: a pointer does not lead back',
    );
    expect(refusal(Buffer.from('00070000000100000000000080', 'hex'))).toBe('name: a label is of an unknown kind');
    const option = '00002904d0000000000000';
    expect(refusal(Buffer.from(`000700000000000000000002${option}${option}`, 'hex'))).toBe('more than one OPT record');
    expect(refusal(Buffer.from(`000700000000000100000000${'00000c0001000000000002'}0000`, 'hex'))).toBe(
      'data: a name in it does not end where it should',
    );
  });

  test('of any bytes neither throw nor loop, and an error answers questions alone', () => {
    const header = fc.tuple(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }),
    );
    const parts = fc.array(
      fc.oneof(
        fc.constant([0xc0, 0x0c]),
        fc.nat(40).map((to) => [0xc0, to]),
        fc.constant([1, 97]),
        fc.constant([0]),
        fc.constant([0, 12, 0, 1, 0, 0, 0, 0, 0, 2]),
        fc.array(fc.nat(255), { maxLength: 6 }),
      ),
      { maxLength: 20 },
    );
    const hostile = fc
      .tuple(header, parts)
      .map(([[start, counts], rest]) =>
        Uint8Array.from([...start, ...counts.flatMap((each) => [0, each]), ...rest.flat()]),
      );
    fc.assert(
      fc.property(fc.oneof(hostile, fc.uint8Array({ maxLength: 80 })), (bytes) => {
        decodeDns(bytes);
        const error = formatError(bytes);
        const isQuestion = bytes.length >= 12 && ((bytes[2] ?? 0) & 0x80) === 0;
        expect(error === null).toBe(!isQuestion);
        if (error)
          expect(decodeDns(encodeDns(error))).toMatchObject({ ok: true, value: { isResponse: true, responseCode: 1 } });
      }),
      { numRuns: 20_000 },
    );
  });

  test('of one changed byte neither throw nor loop', () => {
    fc.assert(
      fc.property(message, fc.nat(), fc.nat(255), (each, at, byte) => {
        const bytes = encodeDns(each);
        bytes[at % bytes.length] = byte;
        const read = decodeDns(bytes);
        if (read.ok) encodeDns(read.value);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('names', () => {
  test('are told apart by every byte', () => {
    const dotted = nameAt(Uint8Array.of(3, 97, 46, 98, 0), 0);
    expect(dotted).toEqual({ name: 'a\\046b', end: 5 });
    expect(nameBytes('a\\046b')).toEqual(Uint8Array.of(3, 97, 46, 98, 0));
  });

  test.each([
    ['', true],
    ['a.b', true],
    ['a..b', false],
    ['a.', false],
    ['a b', false],
    ['a\\256', false],
    [`${'a'.repeat(63)}.b`, true],
    [`${'a'.repeat(64)}.b`, false],
    [Array(127).fill('a').join('.'), true],
    [Array(128).fill('a').join('.'), false],
  ])('%j is one: %j', (text, is) => {
    expect(isName(text)).toBe(is);
  });

  test('are within a zone by whole labels', () => {
    expect([isWithin('a.b', 'b'), isWithin('b', 'b'), isWithin('ab', 'b'), isWithin('a', '')]).toEqual([
      ...[true, true, false, true],
    ]);
  });
});

test('the data of records of any bytes is read or refused, never thrown', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      for (const read of [readCertificateData, readNameData, readStartData, readTextData]) read(bytes);
    }),
    { numRuns: 5000 },
  );
});
