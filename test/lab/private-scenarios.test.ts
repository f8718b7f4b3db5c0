import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { ScenarioReport } from '../../src/scenario/index.ts';
import { leftovers, manycast } from './lab-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

test.each(['private', 'public', 'revoked', 'impostors', 'replayed', 'router-restart', 'two-routers', 'tag'])(
  'scenarios/%s.yaml passes',
  async (file) => {
    const options = ['--on', 'lab', '--report', directory];
    const { code, stderr } = await manycast('scenario', 'run', `scenarios/${file}.yaml`, ...options);
    expect([0, 2], stderr).toContain(code);
    const report = JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8')) as ScenarioReport;
    expect(report.expectations.filter(({ passed }) => !passed)).toEqual([]);
    expect([code, report.on, report.passed]).toEqual([0, 'lab', true]);
    expect(leftovers(report.name)).toEqual([]);
  },
  120_000,
);

test('whose key it is counts, not from where: an impostor with the key of a member that is not revoked takes slots, and the scenario fails', async () => {
  const file = join(directory, 'not-revoked.yaml');
  writeFileSync(file, readFileSync('scenarios/revoked.yaml', 'utf8').replace('  - revoke: r4\n', ''));
  const { code } = await manycast('scenario', 'run', file, '--on', 'lab', '--report', directory);
  const { measures, name } = JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8')) as ScenarioReport;
  expect(code).toBe(2);
  expect(measures).toMatchObject({ 'joins.ofImpostors': 1, 'joins.refused.certificate': 0 });
  expect(measures['routers.slotsTaken']).toBeGreaterThan(0);
  expect(leftovers(name)).toEqual([]);
}, 120_000);
