import { expect, test } from 'vitest';
import { runSeed } from '../../src/sim/index.ts';
import { manycast } from '../lab/lab-under-test.ts';
import { settle } from './bench.ts';

test('runs seeds in several processes and says what came of them', async () => {
  const { stdout } = await manycast('sim', '--seeds', '1..3', '--jobs', '2');
  expect(stdout).toMatch(/^3 seeds, 0 violations, [\d.]+ s, [\d.]+ seeds per second of a core\n$/);
}, 60_000);

test('runs one seed the same as every other process does, with its trace', async () => {
  const { stdout } = await manycast('sim', '--seed', '2', '--trace');
  const lines = stdout.trimEnd().split('\n');
  const { hash, lines: expected } = await runSeed({ seed: 2, settle, trace: true });
  expect(lines.slice(0, -1)).toEqual(expected);
  expect(lines.at(-1)).toContain(`seed 2: hash ${hash}`);
}, 60_000);

test.each([
  [['--seeds', '9..3'], '--seeds: "9..3" is not a range such as 1..100'],
  [['--seeds', 'many'], '--seeds: "many" is not a whole number'],
  [['--trace'], '--trace needs --seed'],
])('refuses %j', async (args, line) => {
  expect(await manycast('sim', ...args)).toMatchObject({ code: 1, stderr: expect.stringContaining(line) });
});
