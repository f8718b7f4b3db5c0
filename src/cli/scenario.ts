import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../base/operating-error.ts';
import { mayBuildHere, runInUserNamespace } from '../lab/index.ts';
import { formatReport, readScenario, runScenario, writeReport } from '../scenario/index.ts';

interface RunOptions {
  readonly on: string;
  readonly report?: string;
  readonly json?: boolean;
}

const scenarios = fileURLToPath(new URL('../../scenarios/', import.meta.url));
const exitCodes = { expectationFailed: 2, interrupted: 130 } as const;

export async function run(file: string, { on, report: directory, json }: RunOptions): Promise<void> {
  if (on !== 'lab') throw new OperatingError('usage', `--on: "${on}" is not allowed, allowed is lab`);
  const scenario = readScenario(file);
  if (!mayBuildHere()) {
    process.exitCode = await runInUserNamespace(process.argv.slice(2));
    return;
  }
  const interrupted = new AbortController();
  // On, and not once: a second Ctrl-C must not kill what takes the network down.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort());
  try {
    const onProgress = (line: string): void => void process.stderr.write(`${line}\n`);
    const ran = await runScenario(scenario, { onProgress, signal: interrupted.signal });
    if (directory !== undefined) writeReport(directory, ran);
    process.stdout.write(json ? `${JSON.stringify(ran.report, null, 2)}\n` : formatReport(ran.report, ran.records));
    if (directory !== undefined && !json)
      process.stdout.write(`see ${join(directory, 'report.json')} and ${join(directory, 'timeline.svg')}\n`);
    if (!ran.report.passed) process.exitCode = exitCodes.expectationFailed;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    process.stderr.write('interrupted, everything is taken down\n');
    process.exitCode = exitCodes.interrupted;
  }
}

export async function list(): Promise<void> {
  for (const file of readdirSync(scenarios).filter((each) => each.endsWith('.yaml'))) {
    const { name, description } = readScenario(join(scenarios, file));
    process.stdout.write(`${name.padEnd(12)} scenarios/${file}\n             ${description}\n`);
  }
}
