import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../base/operating-error.ts';
import { mayBuildHere, runInUserNamespace } from '../lab/index.ts';
import {
  formatRepetition,
  formatReport,
  type RepetitionReport,
  readScenario,
  repetitionOf,
  runScenario,
  type Scenario,
  type ScenarioReport,
  writeRepetition,
  writeReport,
} from '../scenario/index.ts';

interface RunOptions {
  readonly on: string;
  readonly repeat?: string;
  readonly report?: string;
  readonly json?: boolean;
}

type Output = Pick<RunOptions, 'report' | 'json'>;

const scenarios = fileURLToPath(new URL('../../scenarios/', import.meta.url));
const exitCodes = { expectationFailed: 2, interrupted: 130 } as const;
const repetitionsMax = 1000;

export async function run(file: string, { on, repeat, ...output }: RunOptions): Promise<void> {
  if (on !== 'lab') throw new OperatingError('usage', `--on: "${on}" is not allowed, allowed is lab`);
  const times = repeat === undefined ? null : timesOf(repeat);
  const scenario = readScenario(file);
  if (!mayBuildHere()) {
    process.exitCode = await runInUserNamespace(process.argv.slice(2));
    return;
  }
  const interrupted = new AbortController();
  // On, and not once: a second Ctrl-C must not kill what takes the network down.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort());
  // Nor whoever stops reading what is printed.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => interrupted.abort());
  try {
    const running = times === null ? runOnce : runOften(times);
    const passed = await running(scenario, output, interrupted.signal);
    if (!passed) process.exitCode = exitCodes.expectationFailed;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    process.stderr.write('interrupted, everything is taken down\n');
    process.exitCode = exitCodes.interrupted;
  }
}

async function runOnce(scenario: Scenario, { report: directory, json }: Output, signal: AbortSignal): Promise<boolean> {
  const ran = await runScenario(scenario, { onProgress, signal });
  if (directory !== undefined) writeReport(directory, ran);
  process.stdout.write(json ? jsonText(ran.report) : formatReport(ran.report, ran.records));
  if (directory !== undefined && !json)
    process.stdout.write(`see ${join(directory, 'report.json')} and ${join(directory, 'timeline.svg')}\n`);
  return ran.report.passed;
}

function runOften(times: number): typeof runOnce {
  return async (scenario, { report: directory, json }, signal) => {
    const another = async (number: number): Promise<ScenarioReport> => {
      onProgress(`run ${number} of ${times}`);
      return (await runScenario(scenario, { onProgress, signal })).report;
    };
    // After each, so that what a later run breaks off is not lost.
    const save = (sofar: RepetitionReport): void => {
      if (directory !== undefined) writeRepetition(directory, sofar);
    };
    let repetition = repetitionOf([await another(1)]);
    save(repetition);
    while (repetition.runs.length < times) {
      repetition = repetitionOf([...repetition.runs, await another(repetition.runs.length + 1)]);
      save(repetition);
    }
    process.stdout.write(json ? jsonText(repetition) : formatRepetition(repetition));
    if (directory !== undefined && !json) process.stdout.write(`see ${join(directory, 'report.json')}\n`);
    return repetition.passed;
  };
}

function timesOf(text: string): number {
  const times = Number(text);
  if (Number.isInteger(times) && times >= 1 && times <= repetitionsMax) return times;
  throw new OperatingError('usage', `--repeat: "${text}" is not allowed, allowed is 1 to ${repetitionsMax}`);
}

function jsonText(report: object): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

function onProgress(line: string): void {
  process.stderr.write(`${line}\n`);
}

export async function list(): Promise<void> {
  const files = readdirSync(scenarios, { recursive: true, encoding: 'utf8' });
  for (const file of files.filter((each) => each.endsWith('.yaml')).sort()) {
    const { name, description } = readScenario(join(scenarios, file));
    process.stdout.write(`${name.padEnd(12)} scenarios/${file}\n             ${description}\n`);
  }
}
