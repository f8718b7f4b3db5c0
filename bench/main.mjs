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

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    publish: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    out: { type: 'string', default: fileURLToPath(new URL('../out/bench', import.meta.url)) },
  },
});
const say = (text) => process.stderr.write(`bench: ${text}\n`);
const casesDirectory = new URL('cases/', import.meta.url);

if (process.getuid?.() !== 0) {
  say('makes network namespaces with rivals in them, and needs root: sudo npm run bench');
  process.exitCode = 1;
} else if ((await cases()).length === 0) {
  say(`no file in bench/cases has ${values.only} in its name`);
  process.exitCode = 1;
} else if (isIsolated()) {
  await measureAll();
} else {
  ensurePrograms(
    ['iproute2', 'nftables', 'util-linux', 'procps', ...(await cases()).flatMap(({ programs }) => programs)],
    say,
  );
  process.exitCode = await runIsolated();
}

async function measureAll() {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
  const date = new Date().toISOString();
  const command = ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' ');
  const run = { machine: await machineSeen(), date, command };
  const findings = [];
  for (const each of await cases()) {
    findings.push(await finding(each));
    // After each, so that an end halfway leaves what there is.
    writeReport(values.out, run, findings);
  }
  if (values.publish) publish(fileURLToPath(new URL('../docs', import.meta.url)), run, findings);
  process.stdout.write(markdownOf(run, findings));
  say(`written to ${values.out}`);
  if (findings.some(({ error }) => error)) process.exitCode = 1;
}

/** A case that fails says so in the report, and keeps no other from being measured. */
async function finding({ file, title, measure }) {
  const startMs = performance.now();
  const seconds = () => (performance.now() - startMs) / 1000;
  const tell = (text) => say(`${file}: ${text}`);
  tell(title);
  try {
    const measured = await measure({ quick: values.quick, say: tell, directory: values.out });
    return { file, title, seconds: seconds(), ...measured };
  } catch (error) {
    tell(`failed: ${error.stack ?? error}`);
    return { file, title, seconds: seconds(), error: error.message ?? String(error) };
  } finally {
    await endLabs();
    removeNetworks();
  }
}

/** Those that are asked for, in the order of their names. */
async function cases() {
  const files = readdirSync(casesDirectory).filter(
    (file) => file.endsWith('.mjs') && new RegExp(values.only).test(file),
  );
  return Promise.all(
    files.sort().map(async (file) => {
      const { title, programs, measure } = await import(new URL(file, casesDirectory).href);
      return { file: file.replace(/\.mjs$/, ''), title, programs, measure };
    }),
  );
}
