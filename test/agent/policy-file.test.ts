import { mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type PolicyFile, watchPolicyFile } from '../../src/agent/policy-file.ts';
import type { Policy } from '../../src/policy/index.ts';

const equal: Policy = { strategy: 'equal', handoff: 'forward', drainDeadline: 3600 };
const weighted: Policy = { strategy: 'weighted', weights: { r1: 1, r2: 2 }, handoff: 'forward', drainDeadline: 3600 };

let directory: string;
let path: string;
let file: PolicyFile;
let said: (Policy | string)[];
/** Called with whatever the file says next. */
let onSaid: () => void;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
  path = join(directory, 'policy.yaml');
  writeFileSync(path, 'strategy: equal\n');
  said = [];
  onSaid = () => {};
  const say = (what: Policy | string): void => {
    said.push(what);
    onSaid();
  };
  file = watchPolicyFile(path, 256, say, say);
});
afterEach(() => {
  file.close();
  rmSync(directory, { recursive: true });
});

/** Resolves when the file has said `count` things; the test's own limit bounds the wait. */
function heard(count: number): Promise<void> {
  return new Promise((resolve) => {
    onSaid = () => {
      if (said.length >= count) resolve();
    };
    onSaid();
  });
}

/** What reading it fails with for every user, root too. */
function makeUnreadable(): void {
  unlinkSync(path);
  mkdirSync(path);
}

describe('the policy file as it stands', () => {
  test('is read', () => {
    expect(file.read()).toEqual(equal);
  });

  test('is in force when the ledger holds the same content in another form', () => {
    writeFileSync(path, 'weights: { r2: 2, r1: 1 } # by hand\nstrategy: weighted\n');
    expect(file.read()).toEqual(weighted);
    expect(file.compare(weighted)).toEqual({ state: 'in force', problem: null });
  });

  test('differs from another policy, and from none', () => {
    expect(file.compare(weighted)).toEqual({ state: 'differs', problem: null });
    expect(file.compare(null)).toEqual({ state: 'differs', problem: null });
  });

  test('is missing when it is away', () => {
    unlinkSync(path);
    expect(file.read()).toBeNull();
    expect(file.compare(equal)).toEqual({ state: 'missing', problem: null });
  });

  test('is refused with what is wrong in it', () => {
    writeFileSync(path, 'strategy: even\n');
    expect(file.read()).toBeNull();
    expect(file.compare(equal)).toEqual({
      state: 'refused',
      problem: 'strategy: "even" is not allowed, allowed are equal, weighted, explicit',
    });
  });

  test('is refused when it cannot be read', () => {
    makeUnreadable();
    expect(file.read()).toBeNull();
    expect(file.compare(equal)).toEqual({
      state: 'refused',
      problem: 'EISDIR: illegal operation on a directory, read',
    });
  });
});

describe('a saved policy file', () => {
  test('says its policy', async () => {
    writeFileSync(path, 'strategy: weighted\nweights: { r1: 1, r2: 2 }\n');
    await heard(1);
    expect(said).toEqual([weighted]);
  });

  test('says its policy when it is written aside and renamed', async () => {
    writeFileSync(`${path}~`, 'strategy: weighted\nweights: { r1: 1, r2: 2 }\n');
    renameSync(`${path}~`, path);
    await heard(1);
    expect(said).toEqual([weighted]);
  });

  test('says in one line why it is refused, and the next good one its policy', async () => {
    writeFileSync(path, 'strategy: explicit\nshares: { r1: 0-256 }\n');
    await heard(1);
    writeFileSync(path, 'strategy: weighted\nweights: { r1: 1, r2: 2 }\n');
    await heard(2);
    expect(said).toEqual([`${path}: shares.r1: slot 256 does not exist, allowed are 0 to 255`, weighted]);
  });

  test('says nothing while it cannot be read, and its policy when it can again', async () => {
    makeUnreadable();
    rmSync(path, { recursive: true });
    writeFileSync(path, 'strategy: weighted\nweights: { r1: 1, r2: 2 }\n');
    await heard(1);
    expect(said).toEqual([weighted]);
  });
});
