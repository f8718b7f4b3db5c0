import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { leftovers, runScenarioFile } from './lab-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

test.each(['private', 'public', 'revoked', 'impostors', 'replayed', 'router-restart', 'two-routers', 'tag'])(
  'scenarios/%s.yaml passes',
  async (file) => {
    const { code, report } = await runScenarioFile(`scenarios/${file}.yaml`, directory);
    expect(report.expectations.filter(({ passed }) => !passed)).toEqual([]);
    expect([code, report.on, report.passed]).toEqual([0, 'lab', true]);
    expect(leftovers(report.name)).toEqual([]);
  },
  120_000,
);

test('whose key it is counts, not from where: an impostor with the key of a member that is not revoked takes slots, and the scenario fails', async () => {
  const file = join(directory, 'not-revoked.yaml');
  writeFileSync(file, readFileSync('scenarios/revoked.yaml', 'utf8').replace('  - revoke: r4\n', ''));
  const { code, report } = await runScenarioFile(file, directory);
  const { measures, name } = report;
  expect(code).toBe(2);
  expect(measures).toMatchObject({ 'joins.ofImpostors': 1, 'joins.refused.certificate': 0 });
  expect(measures['routers.slotsTaken']).toBeGreaterThan(0);
  expect(leftovers(name)).toEqual([]);
}, 120_000);
