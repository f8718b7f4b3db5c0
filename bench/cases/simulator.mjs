// How many seeds a second one core simulates: each is a cluster of five agents with kernels, networks and clients in virtual time, twenty virtual seconds of faults, a recovery, and the checkers of every
// promise. `manycast sim --jobs 1`, as a person runs it; processor time includes the start of the process. There is no rival; the figure says how much is looked at in a night.
import { run } from '../commands.mjs';
import { manycastCommand } from '../lab.mjs';

export const title = 'Simulator';
export const programs = ['bash'];

/** @param {{ quick: boolean, say: (text: string) => void }} options */
export async function measure({ quick, say }) {
  const seeds = quick ? 10 : 60;
  const rounds = quick ? 1 : 3;
  const values = [];
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}: ${seeds} seeds`);
    const first = 1 + round * seeds;
    const script = 'TIMEFORMAT="%3U %3S"; { time "$@" >/dev/null 2>/dev/null; } 2>&1';
    const argv = [...manycastCommand, 'sim', '--jobs', '1', '--seeds', `${first}..${first + seeds - 1}`];
    const said = await run(['bash', '-c', script, 'bash', ...argv], { timeoutMs: 600_000 });
    const [user, system] = said.trim().split(' ').map(Number);
    values.push(seeds / (user + system));
  }
  return {
    metrics: [{ name: 'manycast sim', metric: 'seeds per second of one core', unit: '1/s', values }],
    ratios: [],
    plots: [],
    notes: [],
  };
}
