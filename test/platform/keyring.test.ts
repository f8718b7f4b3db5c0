import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import {
  addKey,
  hmacSha256,
  keyNames,
  newKeyring,
  readKeyring,
  removeKey,
  useKey,
} from '../../src/platform/keyring.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
const path = join(directory, 'keyring.json');
afterEach(() => rmSync(path, { force: true }));

describe('a keyring', () => {
  test('is made with one key of 32 bytes, for its owner alone', () => {
    newKeyring(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readKeyring(path).map((key) => key.length)).toEqual([32]);
  });

  test('is different each time, and never overwritten', () => {
    newKeyring(path);
    const first = readFileSync(path, 'utf8');
    expect(() => newKeyring(path)).toThrow(`${path} exists already and is left as it is`);
    expect(readFileSync(path, 'utf8')).toBe(first);
    rmSync(path);
    newKeyring(path);
    expect(readFileSync(path, 'utf8')).not.toBe(first);
  });

  test.each([0o640, 0o604, 0o660])('that others may read (mode %o) is refused', (mode) => {
    newKeyring(path);
    chmodSync(path, mode);
    expect(() => readKeyring(path)).toThrow(`keyring ${path} can be read by others`);
  });

  test('puts the key in use first', () => {
    const key = (byte: number): string => Buffer.alloc(32, byte).toString('base64');
    writeFileSync(path, JSON.stringify({ version: 1, use: 'b', keys: { a: key(1), b: key(2) } }), { mode: 0o600 });
    expect(readKeyring(path).map((each) => each[0])).toEqual([2, 1]);
  });

  test('is changed by adding, using and removing keys; what verifies is never without what signs', () => {
    newKeyring(path);
    const [first] = readKeyring(path);
    expect(addKey(path)).toBe('k2');
    const [, second] = readKeyring(path);
    expect(readKeyring(path)).toEqual([first, second]);
    useKey(path, 'k2');
    expect(readKeyring(path)).toEqual([second, first]);
    removeKey(path, 'k1');
    expect(readKeyring(path)).toEqual([second]);
    expect(addKey(path)).toBe('k3');
    expect(keyNames(path)).toEqual({ use: 'k2', names: ['k2', 'k3'] });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('is not written through what somebody left beside it: neither its mode nor where it points', () => {
    newKeyring(path);
    const elsewhere = join(directory, 'elsewhere');
    writeFileSync(elsewhere, 'untouched');
    symlinkSync(elsewhere, `${path}.new`);
    addKey(path);
    expect(readFileSync(elsewhere, 'utf8')).toBe('untouched');
    writeFileSync(`${path}.new`, '', { mode: 0o644 });
    chmodSync(`${path}.new`, 0o644);
    addKey(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readKeyring(path)).toHaveLength(3);
  });

  test('keeps the key in use, and says which keys there are', () => {
    newKeyring(path);
    expect(() => removeKey(path, 'k1')).toThrow(`keyring ${path}: "k1" is in use`);
    expect(() => useKey(path, 'k9')).toThrow(`keyring ${path} has no key "k9", allowed are k1`);
    expect(readKeyring(path)).toHaveLength(1);
  });

  test.each([
    ['', 'is not a keyring file'],
    ['{}', 'is not a keyring file'],
    ['{"version":2,"use":"a","keys":{}}', 'is not a keyring file'],
    ['{"version":1,"use":"b","keys":{"a":"AAAA"}}', 'is not a keyring file'],
    ['{"version":1,"use":"a","keys":{"a":"AAAA"}}', 'a key has not 32 bytes'],
  ])('that holds %s is refused', (text, reason) => {
    writeFileSync(path, text, { mode: 0o600 });
    expect(() => readKeyring(path)).toThrow(reason);
  });

  test('that is not there is refused with its name', () => {
    expect(() => readKeyring(path)).toThrow(path);
  });
});

test('HMAC-SHA256 is that of RFC 4231, test case 2', () => {
  const mac = hmacSha256(new TextEncoder().encode('Jefe'), new TextEncoder().encode('what do ya want for nothing?'));
  expect(Buffer.from(mac).toString('hex')).toBe('5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843');
});
