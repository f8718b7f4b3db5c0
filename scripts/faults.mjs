// Runs every scenario of scenarios/faults so many times and writes what came out to docs/faults.md: `node scripts/faults.mjs --repeat 10`.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({ options: { repeat: { type: 'string', default: '10' } } });
/** Columns of the table: a measure, and what it is called there. */
const columns = [
  ['served.gapMs', 'no fresh connection, ms'],
  ['ping.gapMs', 'connection silent, ms'],
  ['ping.lost', 'connections lost'],
  ['requests.failed', 'requests failed'],
  ['answers.wrongReplica', 'answered by a wrong replica'],
  ['answers.byTwo', 'answered by two'],
];
const pauseTitles = {
  still: 'nothing',
  moving: 'half of all slots, those of the connection among them, move',
  leaving: 'the agent that serves the connection leaves',
};
const expectationFailed = 2;

const files = readdirSync(join(root, 'scenarios/faults')).filter((each) => each.endsWith('.yaml'));
const reports = files.sort().map((file) => ({ file, ...reportOf(file) }));
const pauses = pausesOf();
writeFileSync(join(root, 'docs/faults.md'), page());
process.exitCode = reports.every(({ passed }) => passed) ? 0 : expectationFailed;

function reportOf(file) {
  const directory = join(root, 'out/faults', basename(file, '.yaml'));
  const options = ['--on', 'lab', '--repeat', values.repeat, '--report', directory];
  const argv = [join(root, 'dist/cli/main.js'), 'scenario', 'run', join(root, 'scenarios/faults', file), ...options];
  const { status } = spawnSync(process.execPath, argv, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0 && status !== expectationFailed) {
    process.stderr.write(`${file}: exit code ${status}\n`);
    process.exit(1);
  }
  return JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8'));
}

/** What scripts/gap.mjs says. */
function pausesOf() {
  const argv = [join(root, 'scripts/gap.mjs'), '--repeat', values.repeat];
  const { status, stdout } = spawnSync(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) process.exit(1);
  return JSON.parse(stdout.toString());
}

function page() {
  const failed = (report) => (report.passed ? 'all' : `${report.runs.length - report.failed} of ${report.runs.length}`);
  const cell = ({ median, worst }) => (median === worst ? `${worst}` : `${median} / ${worst}`);
  const rows = reports.map((report) => [
    `[${basename(report.file, '.yaml')}](../scenarios/faults/${report.file})`,
    report.description,
    failed(report),
    ...columns.map(([measure]) => cell(report.measures[measure])),
  ]);
  const header = ['scenario', 'what happens', 'passed', ...columns.map(([, title]) => title)];
  return `# Faults

    node scripts/faults.mjs --repeat ${values.repeat}

${new Date().toISOString().slice(0, 10)}, Linux ${release()}, Node ${process.versions.node}; runs of each scenario: ${values.repeat}, in network namespaces of one
machine with ${cpus().length} cores. Where runs differ: median / worst. The measures are explained in the [reference](reference/scenario.md#measures): \`served.gapMs\` is
the longest time in which some client address got no fresh connection opened, of those asked for every 10 ms; \`ping.gapMs\` the longest pause of
long-lived connections that exchange a line every millisecond, those of the faulty replica too.

${table([header, header.map(() => '---'), ...rows])}

## One connection, looked at closely

    node scripts/gap.mjs --repeat ${values.repeat}

The longest pause within a second of one connection that exchanges a byte every millisecond, on a lab that does nothing else, milliseconds:

${table([
  ['what happens', 'median / worst'],
  ['---', '---'],
  ...Object.entries(pauseTitles).map(([kind, title]) => [title, `${pauses[kind].medianMs} / ${pauses[kind].worstMs}`]),
])}
`;
}

function table(rows) {
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n');
}
