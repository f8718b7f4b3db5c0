import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLabDirectory, labNames, readLabState } from '../../src/lab/state.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
const home = join(directory, 'mine', 'lab');

beforeEach(() => {
  process.env.MANYCAST_LAB_HOME = home;
});
afterEach(() => {
  delete process.env.MANYCAST_LAB_HOME;
  rmSync(join(directory, 'mine'), { recursive: true, force: true });
});

test('labs are known by name, each once', () => {
  expect(labNames()).toEqual([]);
  expect([createLabDirectory('b'), createLabDirectory('a'), createLabDirectory('b')]).toEqual([true, true, false]);
  expect(labNames()).toEqual(['a', 'b']);
  expect(readLabState('a')).toBeNull();
});

test('a directory that others can write to is not trusted: it says which processes to end', () => {
  mkdirSync(home, { recursive: true });
  chmodSync(join(directory, 'mine'), 0o777);
  for (const use of [() => createLabDirectory('a'), () => labNames(), () => readLabState('a')]) {
    expect(use).toThrow(`${join(directory, 'mine')} is not a directory of this user alone`);
  }
});

test('a link in its place is not followed', () => {
  mkdirSync(join(directory, 'theirs', 'lab'), { recursive: true, mode: 0o700 });
  symlinkSync(join(directory, 'theirs'), join(directory, 'mine'));
  expect(() => createLabDirectory('a')).toThrow('is not a directory of this user alone');
});
