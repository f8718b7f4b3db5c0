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
    ['a number without bytes', bytes(), (reader: Reading) => reader.u48('time'), 'time: 6 bytes wanted, 0 left'],
    [
      'bytes that are cut off',
      bytes(1),
      (reader: Reading) => reader.bytes(2 ** 40, 'body'),
      'body: 1099511627776 bytes wanted, 1 left',
    ],
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
      'a list whose items are cut off',
      bytes(0, 2, 7),
      (reader: Reading) => reader.list(4, 'items', (index) => reader.u8(`items[${index}]`)),
      'items[1]: 1 bytes wanted, 0 left',
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

  test('reads a part of a larger buffer, and nothing beside it', () => {
    const part = bytes(9, 1, 2, 9).subarray(1, 3);
    expect(decode(part, (reader) => reader.u16('a'))).toEqual({ ok: true, value: 0x0102 });
    expect(decode(part, (reader) => reader.u32('a'))).toEqual({ ok: false, reason: 'a: 4 bytes wanted, 2 left' });
  });

  test('takes as much text and as many items as allowed', () => {
    expect(decode(bytes(0, 2, 65, 66), (reader) => reader.text(2, 'name'))).toEqual({ ok: true, value: 'AB' });
    expect(decode(bytes(0, 1, 7), (reader) => reader.list(1, 'items', () => reader.u8('item')))).toEqual({
      ok: true,
      value: [7],
    });
    expect(decode(bytes(0, 3, 65, 66, 67), (reader) => reader.text(2, 'name')).ok).toBe(false);
    expect(decode(bytes(0, 2, 7, 7), (reader) => reader.list(1, 'items', () => reader.u8('item')))).toEqual({
      ok: false,
      reason: 'items: 2 items, at most 1',
    });
  });

  test('refuses or reads any bytes, but never fails', () => {
    const kinds = fc.array(fc.constantFrom('u8', 'u16', 'u32', 'u48', 'bytes', 'text', 'list'), { maxLength: 8 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), kinds, (input, fields) => {
        const read = decode(input, (reader) => fields.map((kind) => readField(reader, kind)));
        expect(read.ok || /^(field: .+|\d+ bytes left over)$/.test(read.reason)).toBe(true);
      }),
      { numRuns: 500 },
    );
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

function readField(reader: Reading, kind: 'u8' | 'u16' | 'u32' | 'u48' | 'bytes' | 'text' | 'list'): unknown {
  if (kind === 'bytes') return reader.bytes(3, 'field');
  if (kind === 'text') return reader.text(5, 'field');
  if (kind === 'list') return reader.list(5, 'field', () => reader.text(5, 'field'));
  return reader[kind]('field');
}

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

  test('a byte order mark is text too', () => {
    const written = new Writer().text('\ufeffr1').finish();
    expect(decode(written, (reader) => reader.text(8, 'name'))).toEqual({ ok: true, value: '\ufeffr1' });
  });

  test('what is cut off anywhere is refused', () => {
    const written = new Writer().u16(7).text('name').u48(9).finish();
    const read = (input: Uint8Array) => decode(input, (all) => [all.u16('a'), all.text(9, 'b'), all.u48('c')]);
    expect(read(written)).toEqual({ ok: true, value: [7, 'name', 9] });
    for (let length = 0; length < written.length; length++) {
      expect(read(written.subarray(0, length)), `${length} bytes`).toMatchObject({ ok: false });
    }
  });

  test('more than fits the first buffer is kept', () => {
    const large = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);
    expect(new Writer().u8(1).bytes(large).u8(2).finish()).toEqual(Uint8Array.of(1, ...large, 2));
  });

  test('a number that does not fit is a defect of the caller', () => {
    expect(() => new Writer().u8(256)).toThrow('256 fits 1 bytes');
    expect(() => new Writer().u16(-1)).toThrow('-1 fits 2 bytes');
    expect(() => new Writer().u32(1.5)).toThrow('1.5 fits 4 bytes');
    expect(() => new Writer().text('x'.repeat(65_536))).toThrow('65536 fits 2 bytes');
  });
});
