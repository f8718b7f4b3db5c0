import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { invariants } from '../../src/sim/checkers.ts';

/**
 * Mistakes that could be made in the protocol, each a patch in `planted`: the simulator must find every one of them. With each the seed that finds it today; when the code
 * changes so that it does not any more, more are tried.
 */
const planted: readonly (readonly [string, number, readonly (keyof typeof invariants)[]])[] = [
  ['eviction-too-early', 1, ['release', 'oneTaker']],
  ['former-voters-forgotten', 48, ['release', 'oneTaker', 'oneMap']],
  ['grant-under-old-ledger', 1, ['oneTaker', 'release']],
  ['half-is-a-majority', 2, ['oneMap', 'oneTaker', 'release']],
  ['lease-armed-after-asking', 1, ['release', 'oneTaker']],
  ['leave-before-confirmed', 1, ['release', 'oneTaker']],
  ['new-row-before-leave', 1, ['release', 'oneTaker']],
  ['old-owner-keeps-taking', 1, ['release', 'oneTaker']],
  ['reset-from-unsettled', 1, ['oneAnswer', 'established']],
  ['settled-unasked', 2, ['oneAnswer', 'established']],
  ['stale-answer-counts', 1, ['release', 'oneTaker']],
  ['successor-too-early', 28, ['release', 'oneTaker']],
  ['uncommitted-ledger-acted-on', 13, ['oneMap', 'oneTaker']],
  ['vote-not-persisted', 130, ['oneMap', 'oneTaker', 'liveness']],
];

/** Seeds tried beside the known one. */
const seedsMax = 120;
const root = resolve('.');
const directory = mkdtempSync(join(tmpdir(), 'manycast-planted-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** The program as it would be with that mistake; a patch that does not fit any more is an error. */
function build(name: string): string {
  const home = join(directory, name);
  for (const each of ['src', 'package.json', 'tsconfig.json', 'tsconfig.build.json']) {
    cpSync(join(root, each), join(home, each), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(home, 'node_modules'));
  execFileSync('git', ['apply', '--whitespace=nowarn', join(root, 'test/sim/planted', `${name}.patch`)], { cwd: home });
  // Not checked: what is left over without the line that was taken out is no fault of the mistake.
  const quickly = ['--noCheck', '--declaration', 'false', '--sourceMap', 'false'];
  execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json', ...quickly], { cwd: home });
  return home;
}

interface Found {
  readonly seed: number;
  readonly invariant: string;
  readonly what: string;
}

/** The first violation among these seeds, by a process of its own; null when there is none. */
function search(home: string, seeds: readonly number[]): Promise<Found | null> {
  const program = `
    const { setImmediate } = require('node:timers/promises');
    import(${JSON.stringify(join(home, 'dist/sim/index.js'))}).then(async ({ runSeed }) => {
      for (const seed of ${JSON.stringify(seeds)}) {
        const { violation } = await runSeed({ seed, settle: () => setImmediate() });
        if (violation) return console.log(JSON.stringify({ seed, ...violation }));
      }
      console.log('null');
    });`;
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
    });
    child.once('close', (code) =>
      code === 0 ? done(JSON.parse(said) as Found | null) : failed(new Error(`it ended with ${code}`)),
    );
  });
}

test('every patch is tried', () => {
  const patches = readdirSync(join(root, 'test/sim/planted')).map((each) => each.replace('.patch', ''));
  expect(planted.map(([name]) => name).sort()).toEqual(patches.sort());
});

test.each(planted)(
  'the simulator finds %s',
  async (name, seed, expected) => {
    const seeds = [seed, ...Array.from({ length: seedsMax }, (_, i) => i + 1)];
    const found = await search(build(name), seeds);
    expect(
      expected.map((each) => invariants[each]),
      JSON.stringify(found),
    ).toContain(found?.invariant);
    // Without the mistake the same seed finds nothing.
    expect(await search(root, [found?.seed ?? seed])).toBe(null);
  },
  180_000,
);
