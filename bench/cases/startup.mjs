// How long a person, or a monitor, waits for `manycast status`, beside what Node itself needs to run nothing. It is asked of an agent that is not there, so what is measured is the command: loading it,
// connecting, one line. Each way is a process of its own; its time and processor time are what bash's `time` says.
// Left out: the agent's own part of an answer, a millisecond or two, and a disk that has not read the files before: each way is run once before it counts.
import { join } from 'node:path';
import { run } from '../commands.mjs';
import { manycastCommand } from '../lab.mjs';
import { interleaved } from '../rounds.mjs';
import { spread } from '../statistics.mjs';

export const title = 'Start-up of the command line';
export const programs = ['bash'];

/** @param {{ quick: boolean, directory: string }} options */
export async function measure({ quick, directory }) {
  const socket = join(directory, 'no-agent.sock');
  const ways = {
    'node -e 0': () => timed([process.execPath, '-e', '0']),
    'manycast --version': () => timed([...manycastCommand, '--version']),
    'manycast status': () => timed([...manycastCommand, 'status', '--socket', socket]),
    'manycast router status': () => timed([...manycastCommand, 'router', 'status', '--socket', socket]),
  };
  for (const way of Object.values(ways)) await way();
  const results = await interleaved(ways, quick ? 5 : 21, () => {});
  const plain = results['node -e 0'];
  return {
    metrics: Object.entries(results).flatMap(([name, rounds]) => [
      { name, metric: 'until it ends', unit: 'ms', values: rounds.map(({ ms }) => ms) },
      { name, metric: 'processor time', unit: 'ms', values: rounds.map(({ cpuMs }) => cpuMs) },
    ]),
    ratios: [
      {
        name: 'manycast status / node -e 0, processor time',
        values: results['manycast status'].map(({ cpuMs }, i) => cpuMs / plain[i].cpuMs),
      },
    ],
    plots: [
      {
        ...{ file: 'startup.svg', title: 'Start-up of a command, until it ends', unit: 'ms' },
        bars: Object.entries(results).map(([label, rounds]) => ({ label, ...spread(rounds.map(({ ms }) => ms)) })),
      },
    ],
    notes: [],
  };
}

/** Milliseconds of a process that may fail: until it ended, and of processor time. */
async function timed(argv) {
  const script = 'TIMEFORMAT="%3R %3U %3S"; { time "$@" >/dev/null 2>/dev/null; } 2>&1; exit 0';
  const [real, user, system] = (await run(['bash', '-c', script, 'bash', ...argv])).trim().split(' ').map(Number);
  return { ms: real * 1000, cpuMs: (user + system) * 1000 };
}
