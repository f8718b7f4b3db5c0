import { execFile } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { missingNeed, type SkippedReport } from '../../src/scenario/index.ts';
import { command, labName, manycast, type Ran } from './lab-under-test.ts';

const nobody = 65_534;
const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

function scenarioThatNeeds(needs: string): string {
  const file = join(directory, 'needs.yaml');
  writeFileSync(
    file,
    `name: ${labName('n')}
description: needs what not every machine gives
needs: ${needs}
topology: { replicas: 1, clients: 1, addresses: 1 }
policy: { strategy: equal }
workloads: [{ kind: http, ratePerSecond: 20 }]
timeline: [{ wait: 0.2 }]
expect: [{ measure: requests.failed, atMost: 0 }]
`,
  );
  chmodSync(directory, 0o755);
  return file;
}

/** Runs `manycast` as a user who may do nothing. */
function manycastAsNobody(home: string, ...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const user = { uid: nobody, gid: nobody, cwd: '/', env: { ...process.env, TMPDIR: home } };
    execFile(process.execPath, [command, ...args], user, (error, stdout, stderr) => {
      resolve({ code: error ? (typeof error.code === 'number' ? error.code : 1) : 0, stdout, stderr });
    });
  });
}

describe.skipIf(process.getuid?.() !== 0)('what a scenario needs', () => {
  test('root has all of it: nothing is skipped', () => {
    expect(missingNeed(['root', 'tun'])).toBeNull();
  });

  test('without root it is skipped, which is no failure and no success, and says why', async () => {
    const file = scenarioThatNeeds('[root]');
    const ran = await manycastAsNobody('/', 'scenario', 'run', file, '--on', 'lab');
    expect(ran).toMatchObject({ code: 0, stdout: `${labName('n')}: skipped: it needs root\n` });
    const told = await manycastAsNobody('/', 'scenario', 'run', file, '--on', 'lab', '--json');
    expect(JSON.parse(told.stdout)).toMatchObject({ on: 'lab', passed: false, skipped: 'it needs root' });
  });

  test('a program that is not installed is named, and the scenario is skipped', async () => {
    expect(missingNeed([], ['sh', 'no-such-program', 'nor-this'])).toBe(
      'it needs what is not installed: no-such-program, nor-this',
    );
    const file = scenarioThatNeeds('[]\nprograms: [no-such-program]');
    const ran = await manycast('scenario', 'run', file, '--on', 'lab');
    const skipped = `${labName('n')}: skipped: it needs what is not installed: no-such-program\n`;
    expect(ran).toMatchObject({ code: 0, stdout: skipped });
  });

  test('an expectation that needs what is not there is left out, and said so', async () => {
    const file = scenarioThatNeeds('[]');
    const text = readFileSync(file, 'utf8').replace('atMost: 0 }', 'atLeast: 9, needs: [root] }');
    writeFileSync(file, `${text.trimEnd().slice(0, -1)}, { measure: requests.total, atLeast: 1 }]\n`);
    const directoryOfNobody = mkdtempSync(join(tmpdir(), 'manycast-test-'));
    chownSync(directoryOfNobody, nobody, nobody);
    const ran = await manycastAsNobody(directoryOfNobody, 'scenario', 'run', file, '--on', 'lab', '--json');
    rmSync(directoryOfNobody, { recursive: true });
    expect(ran.stderr).toContain('left out: requests.failed, as it needs root\n');
    expect(JSON.parse(ran.stdout)).toMatchObject({
      passed: true,
      expectations: [{ what: 'requests.total', passed: true }],
      leftOut: ['requests.failed, as it needs root'],
    });
    expect(await manycast('scenario', 'run', file, '--on', 'lab')).toMatchObject({ code: 2 });
  });

  test('on the simulator it needs nothing', async () => {
    const report = join(directory, 'report');
    const ran = await manycast('scenario', 'run', scenarioThatNeeds('[root, tun]'), '--on', 'sim', '--report', report);
    expect(ran).toMatchObject({ code: 0 });
    const told = JSON.parse(readFileSync(join(report, 'report.json'), 'utf8')) as Partial<SkippedReport>;
    expect([told.passed, told.skipped]).toEqual([true, undefined]);
  });

  test('what nobody knows is refused in one line', async () => {
    const file = scenarioThatNeeds('[gpu]');
    const ran = await manycast('scenario', 'run', file, '--on', 'sim');
    expect(ran).toMatchObject({
      code: 1,
      stderr: `manycast: ${file}: needs[0]: "gpu" is not allowed, allowed are root, tun\n`,
    });
  });
});

describe('the command line', () => {
  const demo = 'scenarios/demo.yaml';
  test.each([
    [['--on', 'moon'], '--on: "moon" is not allowed, allowed are lab, sim'],
    [['--on', 'lab', '--seed', '3'], '--seed is for --on sim'],
    [['--on', 'sim', '--seed', 'x'], '--seed: "x" is not a whole number from 0 to 2^32 - 1'],
  ])('refuses %j', async (options, line) => {
    expect(await manycast('scenario', 'run', demo, ...options)).toMatchObject({
      code: 1,
      stderr: `manycast: ${line}\n`,
    });
  });

  test('prints the schema of scenario files that editors get', async () => {
    const { stdout } = await manycast('scenario', 'schema');
    expect(JSON.parse(stdout)).toEqual(JSON.parse(readFileSync('schemas/scenario.schema.json', 'utf8')));
  });

  test('gives several runs on the simulator a seed each', async () => {
    const file = 'scenarios/crash-new-owner.yaml';
    const ran = await manycast('scenario', 'run', file, '--on', 'sim', '--seed', '7', '--repeat', '2', '--json');
    const { runs } = JSON.parse(ran.stdout) as { runs: { seed: number }[] };
    expect(runs.map(({ seed }) => seed)).toEqual([7, 8]);
  });
});
