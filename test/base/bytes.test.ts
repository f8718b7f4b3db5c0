import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decode, Writer } from '../../src/base/bytes.ts';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe('a bounded reader', () => {
  test('reads numbers in network byte order', () => {
    const read = decode(bytes(1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0), (reader) => [
      reader.u8('a'),
      reader.u16('b'),
      reader.u32('c'),
      reader.u48('d'),
    ]);
    expect(read).toEqual({ ok: true, value: [1, 2, 3, 256] });
  });

  test.each([
    ['a number that is cut off', bytes(1), (reader: Reading) => reader.u16('port'), 'port: 2 bytes wanted, 1 left'],
    ['leftovers', bytes(1, 2), (reader: Reading) => reader.u8('a'), '1 bytes left over'],
    ['text longer than allowed', bytes(0, 9), (reader: Reading) => reader.text(8, 'name'), 'name: 9 bytes, at most 8'],
    [
      'text that is cut off',
      bytes(0, 3, 65),
      (reader: Reading) => reader.text(8, 'name'),
      'name: 3 bytes wanted, 1 left',
    ],
    ['text that is not UTF-8', bytes(0, 1, 0xff), (reader: Reading) => reader.text(8, 'name'), 'name: not UTF-8'],
    [
      'a list longer than allowed',
      bytes(0xff, 0xff),
      (reader: Reading) => reader.list(4, 'items', () => 0),
      'items: 65535 items, at most 4',
    ],
    [
      'what the caller refuses',
      bytes(7),
      (reader: Reading) => reader.refuse(`kind: ${reader.u8('kind')} is not known`),
      'kind: 7 is not known',
    ],
  ])('refuses %s and names the field', (_what, input, read, reason) => {
    expect(decode<unknown>(input, read)).toEqual({ ok: false, reason });
  });

  test('lets errors of the program through', () => {
    expect(() =>
      decode(bytes(), () => {
        throw new TypeError('a defect');
      }),
    ).toThrow(TypeError);
  });

  test('returns copies, so that a buffer can be used again', () => {
    const buffer = bytes(1, 2);
    const read = decode(buffer, (reader) => reader.bytes(2, 'body'));
    buffer.fill(9);
    expect(read).toEqual({ ok: true, value: bytes(1, 2) });
  });
});

type Reading = Parameters<Parameters<typeof decode>[1]>[0];

describe('what a writer writes a reader reads', () => {
  const values = fc.record({
    u8: fc.nat(0xff),
    u16: fc.nat(0xffff),
    u32: fc.nat(0xffffffff),
    u48: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
    text: fc.string({ unit: 'grapheme', maxLength: 300 }),
    list: fc.array(fc.nat(0xffff), { maxLength: 40 }),
  });

  test('for every field', () => {
    fc.assert(
      fc.property(values, (value) => {
        const writer = new Writer().u8(value.u8).u16(value.u16).u32(value.u32).u48(value.u48).text(value.text);
        const written = writer.list(value.list, (each) => writer.u16(each)).finish();
        const read = decode(written, (reader) => ({
          u8: reader.u8('u8'),
          u16: reader.u16('u16'),
          u32: reader.u32('u32'),
          u48: reader.u48('u48'),
          text: reader.text(65_535, 'text'),
          list: reader.list(100, 'list', () => reader.u16('list')),
        }));
        expect(read).toEqual({ ok: true, value });
      }),
    );
  });

  test('a number that does not fit is a defect of the caller', () => {
    expect(() => new Writer().u8(256)).toThrow('256 fits 1 bytes');
    expect(() => new Writer().u16(-1)).toThrow('-1 fits 2 bytes');
    expect(() => new Writer().u32(1.5)).toThrow('1.5 fits 4 bytes');
  });
});
