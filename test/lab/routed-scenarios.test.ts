import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { leftovers, manycast, runScenarioFile } from './lab-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

test.each(['forward-stream', 'transfer', 'crash-old-owner', 'overlapping-moves', 'drain-and-return', 'datagrams-stay'])(
  'scenarios/%s.yaml passes behind a router',
  async (file) => {
    const { code, report } = await runScenarioFile(`scenarios/${file}.yaml`, directory, '--delivery', 'router');
    expect(report.expectations.filter(({ passed }) => !passed)).toEqual([]);
    expect([code, report.on, report.passed]).toEqual([0, 'lab', true]);
    expect(leftovers(report.name)).toEqual([]);
  },
  120_000,
);

test('a scenario of group delivery is refused in one line', async () => {
  expect(await manycast('scenario', 'run', 'scenarios/group.yaml', '--on', 'lab', '--delivery', 'router')).toEqual({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^manycast: --delivery: [^\n]*group[^\n]*\n$/),
  });
});
