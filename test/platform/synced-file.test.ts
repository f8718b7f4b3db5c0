import fs, { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { changeIssued } from '../../src/platform/issued-certificates.ts';
import { replaceFile, writeNew } from '../../src/platform/key-files.ts';
import { addKey, newKeyring } from '../../src/platform/keyring.ts';
import { openStateDirectory } from '../../src/platform/state-directory.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-synced-'));
const file = (name: string): string => join(directory, name);
afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});
afterAll(() => rmSync(directory, { recursive: true }));

/** What is asked of the disk, in this order; it is done all the same. */
function stepsOf(use: () => void): string[] {
  const steps: string[] = [];
  const { fsyncSync, renameSync } = fs;
  vi.spyOn(fs, 'fsyncSync').mockImplementation((fd) => {
    const path = readlinkSync(`/proc/self/fd/${fd}`);
    steps.push(path === directory ? 'sync the directory' : `sync ${basename(path)}, ${statSync(path).size} bytes`);
    fsyncSync(fd);
  });
  vi.spyOn(fs, 'renameSync').mockImplementation((from, to) => {
    steps.push(`rename ${basename(String(from))} to ${basename(String(to))}`);
    renameSync(from, to);
  });
  syncBuiltinESMExports();
  use();
  return steps;
}

const replaced = (name: string): string[] => [
  `sync ${name}.new, ${statSync(file(name)).size} bytes`,
  `rename ${name}.new to ${name}`,
  'sync the directory',
];

describe('on disk before it stands under its name, and its name after that, is', () => {
  test('a keyring that is changed', () => {
    newKeyring(file('keyring.json'));
    const steps = stepsOf(() => void addKey(file('keyring.json')));
    expect(steps).toEqual(replaced('keyring.json'));
  });

  test('the key, certificate or list of an authority', () => {
    const steps = stepsOf(() => replaceFile(file('ca.crl'), 'a list'));
    expect(steps).toEqual(replaced('ca.crl'));
  });

  test('the record of what was issued', () => {
    const steps = stepsOf(() => changeIssued(directory, () => []));
    expect(steps).toEqual(replaced('issued'));
  });

  test('a value of a state directory', () => {
    const store = openStateDirectory(directory);
    const steps = stepsOf(() => store.write('ledger', new Uint8Array(9)));
    expect(steps).toEqual(replaced('ledger'));
  });
});

describe('on disk once it is made is', () => {
  test.each([
    ['a keyring', 'new.json', newKeyring],
    ['a key', 'ca.key', (path: string) => writeNew(path, 'a key')],
  ])('%s', (_what, name, make) => {
    const steps = stepsOf(() => make(file(name)));
    expect(steps).toEqual([`sync ${name}, ${statSync(file(name)).size} bytes`, 'sync the directory']);
  });
});

test("what lies aside from a change that was cut short is in nobody's way, and gives nothing away", () => {
  writeFileSync(file('ca.crt.new'), 'half', { mode: 0o644 });
  replaceFile(file('ca.crt'), 'whole');
  expect(readFileSync(file('ca.crt'), 'utf8')).toBe('whole');
  expect(statSync(file('ca.crt')).mode & 0o777).toBe(0o600);
  expect(existsSync(file('ca.crt.new'))).toBe(false);
});
