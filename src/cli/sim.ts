import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import { type RunResult, runSeed } from '../sim/index.ts';
import { wholeNumber } from './whole-number.ts';

interface SimOptions {
  readonly seed?: string;
  readonly seeds?: string;
  readonly jobs?: string;
  readonly trace?: boolean;
}

/** What one seed came to, as the processes tell each other. */
interface Outcome extends Pick<RunResult, 'seed' | 'violation'> {
  /** Processor time. */
  readonly cpuSeconds: number;
}

interface Range {
  readonly first: number;
  readonly last: number;
}

const progressMs = 5000;

/** Lets the event loop come round, so that every promise that can go on does. */
const settle = (): Promise<void> => setImmediate();

export async function simulate({ seed, seeds, jobs, trace = false }: SimOptions): Promise<void> {
  if (seed !== undefined) return one(wholeNumber('--seed', seed), trace);
  const range = rangeOf(seeds ?? '1..100');
  if (trace) throw new OperatingError('usage', '--trace needs --seed: the trace of one run is long enough');
  if (process.send) return tellParent(range);
  await many(range, jobs === undefined ? availableParallelism() : wholeNumber('--jobs', jobs, 1));
}

async function one(seed: number, trace: boolean): Promise<void> {
  const result = await runSeed({ seed, settle, trace });
  for (const line of result.lines) process.stdout.write(`${line}\n`);
  const { hash, steps, datagrams, virtualMs, recoveryMs } = result;
  const took = `${(virtualMs / 1000).toFixed(1)} virtual seconds, ${steps} events, ${datagrams} datagrams`;
  process.stdout.write(`seed ${seed}: hash ${hash}, ${took}, recovered in ${Math.round(recoveryMs)} ms\n`);
  if (result.violation) fail(result);
}

async function many(range: Range, jobs: number): Promise<void> {
  const count = range.last - range.first + 1;
  const workers = Math.max(1, Math.min(jobs, count));
  const begin = performance.now();
  let done = 0;
  let violations = 0;
  let cpuSeconds = 0;
  const note = (outcome: Outcome): void => {
    done++;
    cpuSeconds += outcome.cpuSeconds;
    if (!outcome.violation) return;
    violations++;
    fail(outcome);
  };
  const progress = setInterval(() => {
    process.stderr.write(`${done} of ${count} seeds, ${violations} violations\n`);
  }, progressMs);
  try {
    if (workers === 1) await eachSeed(range, note);
    else await Promise.all(split(range, workers).map((part) => inChild(part, note)));
  } finally {
    clearInterval(progress);
  }
  const seconds = (performance.now() - begin) / 1000;
  const rate = (count / cpuSeconds).toFixed(1);
  process.stdout.write(
    `${count} seeds, ${violations} violations, ${seconds.toFixed(1)} s, ${rate} seeds per second of a core\n`,
  );
}

async function eachSeed({ first, last }: Range, note: (outcome: Outcome) => void): Promise<void> {
  for (let seed = first; seed <= last; seed++) {
    const before = process.cpuUsage();
    const { violation } = await runSeed({ seed, settle });
    const { user, system } = process.cpuUsage(before);
    note({ seed, violation, cpuSeconds: (user + system) / 1e6 });
  }
}

async function tellParent(range: Range): Promise<void> {
  process.once('disconnect', () => process.exit());
  await eachSeed(range, (outcome) => process.send?.(outcome));
  process.disconnect();
}

function inChild({ first, last }: Range, note: (outcome: Outcome) => void): Promise<void> {
  const main = defined(process.argv[1], 'the program');
  const child: ChildProcess = fork(main, ['sim', '--seeds', `${first}..${last}`]);
  child.on('message', (message) => note(message as Outcome));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new OperatingError('sim', `the process for seeds ${first} to ${last} ended with ${code ?? signal}`));
    });
  });
}

function fail({ seed, violation }: Pick<RunResult, 'seed' | 'violation'>): void {
  if (!violation) return;
  process.exitCode = 1;
  process.stdout.write(
    [
      `seed ${seed} breaks "${violation.invariant}" at ${violation.at.toFixed(3)} ms`,
      `  ${violation.what}`,
      `  replay: manycast sim --seed ${seed} --trace\n`,
    ].join('\n'),
  );
}

function split({ first, last }: Range, parts: number): Range[] {
  const count = last - first + 1;
  const edge = (part: number): number => first + Math.floor((part * count) / parts);
  return Array.from({ length: parts }, (_, part) => ({ first: edge(part), last: edge(part + 1) - 1 }));
}

function rangeOf(text: string): Range {
  const [first, last, ...rest] = text.split('..').map((part) => wholeNumber('--seeds', part));
  if (first === undefined || last === undefined || rest.length > 0 || last < first) {
    throw new OperatingError('usage', `--seeds: "${text}" is not a range such as 1..100`);
  }
  return { first, last };
}
