import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, describe, expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import { manycast, startManycast } from '../lab/lab-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

describe('the command line', () => {
  test('says whether a policy file is good', async () => {
    const good = file('good.yaml', 'strategy: explicit\nshares: { r1: 0-15 }\n');
    expect(await manycast('policy', 'check', good)).toEqual({
      code: 0,
      stdout: `${good}: good, strategy explicit, handoff forward\n`,
      stderr: '',
    });
    expect(await manycast('policy', 'check', good, '--partition', '0.0.0.7')).toEqual({
      code: 1,
      stdout: '',
      stderr: `manycast: ${good}: shares.r1: slot 15 does not exist, allowed are 0 to 7\n`,
    });
  });

  test('says in one line what is wrong with a bad one', async () => {
    const bad = file('bad.yaml', 'strategy: equal\nhandoff: gentle\n');
    expect(await manycast('policy', 'check', bad)).toEqual({
      code: 1,
      stdout: '',
      stderr: `manycast: ${bad}: handoff: "gentle" is not allowed, allowed are forward, reset, transfer, tag\n`,
    });
  });

  test('makes a keyring once', async () => {
    const path = join(directory, 'keyring.json');
    expect(await manycast('keyring', 'new', '--out', path)).toMatchObject({ code: 0 });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await manycast('keyring', 'new', '--out', path)).toEqual({
      code: 1,
      stdout: '',
      stderr: `manycast: ${path} exists already and is left as it is\n`,
    });
  });

  test('without an agent says so, and what to do', async () => {
    const socket = join(directory, 'none.sock');
    expect(await manycast('status', '--socket', socket)).toEqual({
      code: 1,
      stdout: '',
      stderr: `manycast: no agent answers on ${socket}\n  start one (manycast agent -c FILE) or name its socket with --socket\n`,
    });
  });

  test('without a router says so, and what to do', async () => {
    const socket = join(directory, 'none.sock');
    expect(await manycast('router', 'status', '--socket', socket)).toMatchObject({
      code: 1,
      stderr: `manycast: no router answers on ${socket}\n  start one (manycast router -c FILE) or name its socket with --socket\n`,
    });
  });

  test('ends in silence when nobody reads its output any more', async () => {
    const child = startManycast('scenario', 'list');
    child.stdout?.destroy();
    const said = text(defined(child.stderr, 'its standard error'));
    const [code] = await once(child, 'exit');
    expect([code, await said]).toEqual([141, '']);
  });

  test('names the file that cannot be read', async () => {
    expect((await manycast('policy', 'check', directory)).stderr).toMatch(`manycast: ${directory}: EISDIR`);
  });

  test('refuses numbers and fields that cannot be', async () => {
    for (const [argv, line] of [
      [['lab', 'up', 'x', '--replicas', 'many'], '--replicas: "many" is not a whole number from 0 to 2^32 - 1'],
      [['lab', 'up', 'x', '--public'], '--public: is for --delivery router, or for group with --routers'],
      [['sim', '--jobs', '0'], '--jobs: "0" is not a whole number from 1 to 2^32 - 1'],
    ] as const) {
      expect(await manycast(...argv)).toEqual({ code: 1, stdout: '', stderr: `manycast: ${line}\n` });
    }
  });

  test('refuses a configuration in one line before it touches anything', async () => {
    const config = file('agent.yaml', 'cluster: site1\n');
    const ran = await manycast('agent', '-c', config);
    expect([ran.code, ran.stderr]).toEqual([1, `manycast: ${config}: node: missing, allowed is text\n`]);
  });

  test('lists the scenarios that come with it', async () => {
    const ran = await manycast('scenario', 'list');
    expect(ran.stdout).toContain('scenarios/demo.yaml');
    expect(ran.stdout).toContain('scenarios/reset-handoff.yaml');
  });

  test('knows its version, and what it does not know', async () => {
    expect((await manycast('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const ran = await manycast('plocy', 'check');
    expect([ran.code, ran.stderr.split('\n')[0]]).toEqual([1, "error: unknown command 'plocy'"]);
  });
});
