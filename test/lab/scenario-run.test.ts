import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { RepetitionReport } from '../../src/scenario/index.ts';
import { labName, leftovers, manycast } from './lab-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

test('every slot changes its replica and back: all sessions are reset and reconnect, no request fails', async () => {
  const ran = await manycast('scenario', 'run', 'scenarios/reset-handoff.yaml', '--on', 'lab', '--report', directory);
  expect(ran.stdout).toContain('reset: passed');
  expect(ran.code).toBe(0);
  const report = JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8')) as Record<string, unknown>;
  expect(report).toMatchObject({
    passed: true,
    requests: { failed: 0 },
    connections: { total: 16 },
    move: { slots: 512 },
    measures: { 'answers.wrongReplica': 0, 'answers.byTwo': 0 },
    replicas: [
      { name: 'r1', slots: 128, filters: ['0.0.0.0/0.0.0.128'] },
      { name: 'r2', slots: 128, filters: ['0.0.0.128/0.0.0.128'] },
    ],
  });
  // Every session came to its end twice, and each that was told of a reset came back.
  const { reset, reconnected, broken } = report.connections as Readonly<Record<string, number>>;
  expect([Number(reset) + Number(broken), reconnected]).toEqual([32, reset]);
  // As the capture at the switch saw it.
  const { measures } = report as { measures: Readonly<Record<string, number>> };
  expect(measures['resets.sent']).toBeGreaterThanOrEqual(32);
  expect(readFileSync(join(directory, 'timeline.svg'), 'utf8')).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
  expect(leftovers('reset')).toEqual([]);
}, 60_000);

test('an expectation that fails is named and makes the exit code 2; everything is taken down', async () => {
  const name = labName('x');
  const file = join(directory, 'failing.yaml');
  writeFileSync(
    file,
    `name: ${name}
description: asks for the impossible
topology: { replicas: 1, clients: 1, addresses: 2 }
policy: { strategy: equal }
workloads: [{ kind: http, ratePerSecond: 20 }]
timeline: [{ wait: 1 }]
expect: [{ measure: requests.total, atLeast: 1000000 }, { measure: requests.failed, atMost: 0 }]
`,
  );
  const ran = await manycast('scenario', 'run', file, '--on', 'lab', '--json');
  expect(ran.code).toBe(2);
  const report = JSON.parse(ran.stdout) as { passed: boolean; expectations: { passed: boolean }[] };
  expect(report.passed).toBe(false);
  expect(report.expectations.map(({ passed }) => passed)).toEqual([false, true]);
  expect(leftovers(name)).toEqual([]);
});

/** A scenario of a command that asks a server of its own, which answers with what was prepared and who it is. */
function brought(name: string, prepare: string): string {
  const server = [
    "const word = require('node:fs').readFileSync(process.env.MANYCAST_SHARED + '/word', 'utf8');",
    "const who = require('node:os').userInfo().username + ' ' + process.getuid();",
    "require('node:http').createServer((_, response) => response.end(word + ' ' + who)).listen(8080);",
  ].join(' ');
  const ask = 'curl -s -m 4 --retry 20 --retry-connrefused http://$MANYCAST_SERVICE_ADDRESS:8080/';
  const command = {
    kind: 'command',
    prepare,
    run: `test "$(${ask})" = 'prepared manycast 1000'`,
    serve: { port: '8080/tcp', unprivileged: true, run: `exec '${process.execPath}' -e "${server}"` },
  };
  const file = join(directory, 'brought.yaml');
  writeFileSync(
    file,
    `name: ${name}
description: a server that a command brings
topology: { replicas: 2, clients: 1, addresses: 1 }
policy: { strategy: equal }
workloads: [${JSON.stringify(command)}]
timeline: [{ wait: 0.2 }]
expect: [{ measure: commands.failed, atMost: 0 }, { measure: commands.run, atLeast: 1 }]
`,
  );
  return file;
}

test('a command brings its server, which may run as an ordinary user, and what is prepared for both', async () => {
  const name = labName('b');
  const ran = await manycast('scenario', 'run', brought(name, 'printf prepared > word'), '--on', 'lab');
  expect(ran.stderr).toContain('servers: what a command brings for 8080/tcp');
  expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining(`${name}: passed`) });
  expect(leftovers(name)).toEqual([]);
});

test('what cannot be prepared ends the run in one line, and nothing is left', async () => {
  const name = labName('b');
  const ran = await manycast('scenario', 'run', brought(name, 'echo of no use; exit 3'), '--on', 'lab');
  expect(ran.code).toBe(1);
  expect(ran.stderr).toMatch(/^manycast: what prepares the lab ended with exit code 3: echo of no use; exit 3$/m);
  expect(leftovers(name)).toEqual([]);
});

test('run several times: medians and worst, all reports in one file, and one failure is enough', async () => {
  const name = labName('t');
  const file = join(directory, 'repeated.yaml');
  const text = (atLeast: number): string => `name: ${name}
description: some requests
topology: { replicas: 1, clients: 1, addresses: 2 }
policy: { strategy: equal }
workloads: [{ kind: http, ratePerSecond: 20 }]
timeline: [{ wait: 0.5 }]
expect: [{ measure: requests.total, atLeast: ${atLeast} }]
`;
  for (const [atLeast, code] of [
    [1, 0],
    [1e6, 2],
  ] as const) {
    writeFileSync(file, text(atLeast));
    const ran = await manycast('scenario', 'run', file, '--on', 'lab', '--repeat', '2', '--report', directory);
    expect(ran.code).toBe(code);
    expect(ran.stdout).toContain(`${name}: ${code === 0 ? 'passed in all 2 runs' : 'FAILED in 2 of 2 runs'}`);
    const report = JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8')) as RepetitionReport;
    const totals = report.runs.map(({ measures }) => measures['requests.total']);
    expect(totals).toHaveLength(2);
    expect(report.measures['requests.total'].worst).toBe(Math.max(...totals));
    expect(leftovers(name)).toEqual([]);
  }
});

test.each(['0', '1.5', 'often'])('--repeat %s is refused in one line', async (times) => {
  const ran = await manycast('scenario', 'run', 'scenarios/demo.yaml', '--on', 'lab', '--repeat', times);
  expect(ran).toMatchObject({
    code: 1,
    stderr: `manycast: --repeat: "${times}" is not allowed, allowed is 1 to 1000\n`,
  });
});

test('a bad file is one line, and nothing is built', async () => {
  const file = join(directory, 'bad.yaml');
  writeFileSync(file, readFileSync('scenarios/demo.yaml', 'utf8').replace('cut: r3', 'cut: r9'));
  const ran = await manycast('scenario', 'run', file, '--on', 'lab');
  expect(ran.code).toBe(1);
  expect(ran.stderr).toBe(
    `manycast: ${file}: timeline[5].cut: no such replica, allowed are r1, r2, r3, coordinator, member\n`,
  );
});
