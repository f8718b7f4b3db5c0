// Manycast beside what a user would pick instead, in one run on one machine: `npm run bench`. Writes results.json, results.md and plots to out/bench.
// `--quick` takes 5 minutes for all; `--only PATTERN` takes the cases whose file name holds the pattern, a regular expression; `--publish` writes docs/benchmarks.md and its plots too. Needs root.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isIsolated, runIsolated } from './isolated.mjs';
import { endLabs } from './lab.mjs';
import { machineSeen } from './machine.mjs';
import { removeNetworks } from './network.mjs';
import { ensurePrograms } from './programs.mjs';
import { markdownOf, publish, writeReport } from './report.mjs';

const say = (text) => process.stderr.write(`bench: ${text}\n`);
const casesDirectory = new URL('cases/', import.meta.url);
const { values, pattern } = options();

if (process.getuid?.() !== 0) {
  say('makes network namespaces with rivals in them, and needs root: sudo npm run bench');
  process.exitCode = 1;
} else {
  process.exitCode = await bench();
}

/** The exit code. */
async function bench() {
  const chosen = await cases();
  const packages = chosen.flatMap(({ programs }) => programs);
  if (chosen.length === 0) {
    say(`no file in bench/cases has ${values.only} in its name`);
    return 1;
  }
  if (isIsolated()) return measureAll(chosen, packages);
  ensurePrograms(['iproute2', 'nftables', 'util-linux', 'procps', ...packages], say);
  return runIsolated();
}

/** Ends with one line when they are not understood. */
function options() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        publish: { type: 'boolean', default: false },
        only: { type: 'string', default: '' },
        out: { type: 'string', default: fileURLToPath(new URL('../out/bench', import.meta.url)) },
      },
    });
    if (values.publish && (values.quick || values.only !== ''))
      throw new Error('--publish writes the page of the full run: not with --quick or --only');
    return { values, pattern: new RegExp(values.only) };
  } catch (error) {
    say(error.message.split('\n')[0]);
    return process.exit(2);
  }
}

async function measureAll(chosen, packages) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
  const date = new Date().toISOString();
  const command = ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' ');
  const run = { machine: await machineSeen(packages), date, command };
  const findings = [];
  for (const each of chosen) {
    findings.push(await finding(each));
    // After each, so that an end halfway leaves what there is.
    writeReport(values.out, run, findings);
  }
  const isWhole = findings.every(({ error }) => error === undefined);
  if (values.publish && isWhole) publish(fileURLToPath(new URL('../docs', import.meta.url)), run, findings);
  process.stdout.write(markdownOf(run, findings));
  say(`written to ${values.out}`);
  if (isWhole) return 0;
  if (values.publish) say('docs/benchmarks.md stays as it was: a case has failed');
  return 1;
}

/** A case that fails says so in the report, and keeps no other from being measured. */
async function finding({ file, title, measure }) {
  const startMs = performance.now();
  const seconds = () => (performance.now() - startMs) / 1000;
  const tell = (text) => say(`${file}: ${text}`);
  tell(title);
  try {
    const measured = await measure({ quick: values.quick, say: tell, directory: values.out });
    checkNumbers(measured);
    return { file, title, seconds: seconds(), ...measured };
  } catch (error) {
    tell(`failed: ${error.stack ?? error}`);
    return { file, title, seconds: seconds(), error: error.message ?? String(error) };
  } finally {
    await endLabs();
    removeNetworks();
  }
}

/** What could not be read or divided is no figure. */
function checkNumbers({ metrics, ratios }) {
  for (const { name, metric = 'ratio', values: each } of [...metrics, ...ratios]) {
    if (each.length === 0 || !each.every(Number.isFinite)) throw new Error(`${name}: ${metric}: no number in ${each}`);
  }
}

/** Those that are asked for, in the order of their names. */
async function cases() {
  const files = readdirSync(casesDirectory).filter((file) => file.endsWith('.mjs') && pattern.test(file));
  return Promise.all(
    files.sort().map(async (file) => {
      const { title, programs, measure } = await import(new URL(file, casesDirectory).href);
      return { file: file.replace(/\.mjs$/, ''), title, programs, measure };
    }),
  );
}
