import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../base/operating-error.ts';
import { jsonSchemaOf } from '../base/schema-reference.ts';
import { mayBuildHere, namespaceRefusal, runInUserNamespace } from '../lab/index.ts';
import {
  formatRepetition,
  formatReport,
  formatSkipped,
  missingNeed,
  type Place,
  type RepetitionReport,
  readScenario,
  repetitionOf,
  runOnSim,
  runScenario,
  type Scenario,
  type ScenarioReport,
  type ScenarioRun,
  scenarioSchema,
  skippedReport,
  type Taken,
  unfitForSim,
  withDelivery,
  writeRepetition,
  writeReport,
  writeSkipped,
} from '../scenario/index.ts';
import { openScene } from '../sim/index.ts';
import { wholeNumber } from './whole-number.ts';

interface RunOptions {
  readonly on: string;
  readonly delivery?: string;
  readonly seed?: string;
  readonly repeat?: string;
  readonly report?: string;
  readonly json?: boolean;
}

type Output = Pick<RunOptions, 'report' | 'json'>;

/** Runs the scenario once; the number of the run counts from 0. */
type Once = (scenario: Scenario, number: number) => Promise<ScenarioRun>;

const scenarios = fileURLToPath(new URL('../../scenarios/', import.meta.url));
const exitCodes = { expectationFailed: 2, interrupted: 130 } as const;
const repetitionsMax = 1000;
const places: readonly Place[] = ['lab', 'sim'];

export async function run(file: string, { on, delivery, seed, repeat, ...output }: RunOptions): Promise<void> {
  const place = places.find((each) => each === on);
  if (!place) throw new OperatingError('usage', `--on: "${on}" is not allowed, allowed are ${places.join(', ')}`);
  if (seed !== undefined && place !== 'sim') throw new OperatingError('usage', '--seed is for --on sim');
  const times = repeat === undefined ? null : timesOf(repeat);
  const firstSeed = seed === undefined ? 1 : wholeNumber('--seed', seed);
  const written = readScenario(file);
  const scenario = delivery === undefined ? written : withDelivery(written, delivery);
  const reason = place === 'sim' ? unfitForSim(scenario) : missingNeed(scenario.needs, scenario.programs);
  if (reason !== null) return skip(scenario, place, reason, output);
  if (place === 'lab' && !mayBuildHere() && !scenario.topology.onLoopback) {
    const refusal = namespaceRefusal();
    if (refusal && scenario.otherwise !== undefined) {
      onProgress(`${refusal.message}; so ${scenario.otherwise} runs instead, which needs none`);
      return run(join(dirname(file), scenario.otherwise), { on, ...(repeat ? { repeat } : {}), ...output });
    }
    if (refusal) throw refusal;
    process.exitCode = await runInUserNamespace(process.argv.slice(2));
    return;
  }
  const interrupted = new AbortController();
  // On, and not once: a second Ctrl-C must not kill what takes the network down.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort());
  // Nor whoever stops reading what is printed.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => interrupted.abort());
  const { signal } = interrupted;
  const once: Once = place === 'sim' ? onSim(firstSeed, signal) : (each) => runScenario(each, { onProgress, signal });
  try {
    const passed =
      times === null ? await runOnce(scenario, once, output) : await runOften(scenario, once, times, output);
    if (!passed) process.exitCode = exitCodes.expectationFailed;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    process.stderr.write('interrupted, everything is taken down\n');
    process.exitCode = exitCodes.interrupted;
  }
}

/** Each run has the next seed. */
function onSim(firstSeed: number, signal: AbortSignal): Once {
  const settle = async (): Promise<void> => {
    // Lets the event loop come round, so that every promise that can go on does, and signals are heard.
    await setImmediate();
    signal.throwIfAborted();
  };
  return (scenario, number) => runOnSim(scenario, firstSeed + number, (setup) => openScene({ ...setup, settle }));
}

/** Not run, for want of something: no failure, and no success either. */
function skip(scenario: Scenario, place: Place, reason: string, { report: directory, json }: Output): void {
  const report = skippedReport(scenario, place, reason);
  if (directory !== undefined) writeSkipped(directory, report);
  process.stdout.write(json ? jsonText(report) : formatSkipped(report));
}

async function runOnce(scenario: Scenario, once: Once, { report: directory, json }: Output): Promise<boolean> {
  const ran = await once(scenario, 0);
  if (directory !== undefined) writeReport(directory, ran);
  process.stdout.write(json ? jsonText(ran.report) : formatReport(ran.report, ran.records));
  if (directory !== undefined && !json)
    process.stdout.write(`see ${join(directory, 'report.json')} and ${join(directory, 'timeline.svg')}\n`);
  return ran.report.passed;
}

async function runOften(
  scenario: Scenario,
  once: Once,
  times: number,
  { report: directory, json }: Output,
): Promise<boolean> {
  const another = async (number: number): Promise<ScenarioReport<Taken>> => {
    onProgress(`run ${number} of ${times}`);
    return (await once(scenario, number - 1)).report;
  };
  // After each, so that what a later run breaks off is not lost.
  const save = (sofar: RepetitionReport<Taken>): void => {
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

/** The JSON schema of a scenario file. */
export async function schema(): Promise<void> {
  process.stdout.write(jsonText(jsonSchemaOf(scenarioSchema, { title: 'scenario.yaml' })));
}
