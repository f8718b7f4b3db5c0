// Handoff `transfer`: connections that move along with their slots, back and forth between two replicas, while their clients ask. This is scripts/transfer.mjs, which checks every byte.
//
// Measured: connections moved a second, from the first that stands still to the last that goes on; of 16 connections that ask every 2 ms, how long the answer takes in which one is moved; connections that
// broke, and those that did not move along and went on where they were.
//
// Left out: streams at full speed, which scripts/transfer.mjs has too. No rival is known that moves live connections between hosts.
import { fileURLToPath } from 'node:url';
import { run } from '../commands.mjs';

export const title = 'Connections that move along';
export const programs = [];

const program = fileURLToPath(new URL('../../scripts/transfer.mjs', import.meta.url));
const sizes = { quick: { connections: 200, moves: 1 }, full: { connections: 2000, moves: 6 } };
const patienceMs = 300_000;

export async function measure({ quick }) {
  const { connections, moves } = quick ? sizes.quick : sizes.full;
  const options = ['--connections', connections, '--moves', moves, '--streams', 0].map(String);
  const seen = JSON.parse(await run([process.execPath, program, ...options], { timeoutMs: patienceMs }));
  const name = `${connections.toLocaleString('en')} connections, each moved ${moves === 1 ? 'once' : `${moves} times`}`;
  return {
    metrics: [
      { name, metric: 'moved', unit: 'per second', values: seen.movesPerSecond },
      { name, metric: 'median stall', unit: 'ms', values: [seen.stallMs.p50] },
      { name, metric: 'longest stall', unit: 'ms', values: [seen.stallMs.max] },
      { name, metric: 'broken', unit: 'count', values: [seen.broken] },
      { name, metric: 'stayed', unit: 'count', values: [seen.misplaced] },
    ],
    ratios: [],
    plots: [],
    notes: [],
  };
}
