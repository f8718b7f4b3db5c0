import { connect } from 'node:net';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import type { ProbeRecord } from './records.ts';

// Runs on a client machine: asks for a fresh connection to port 80 of a service from each address at a steady pace, whatever became of those before.
// One record for each attempt when it is over; ends when standard input does.
interface ProbeClientTask {
  readonly service: string;
  readonly addresses: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

const task = JSON.parse(process.argv[2] ?? '') as ProbeClientTask;
/** The addresses take turns within an interval. */
const periodMs = task.intervalMs / task.addresses.length;
const begin = performance.now();
const underWay = new Set<() => void>();
let begun = 0;
let timer = setTimeout(beginDue, 0);
process.stdin.resume();
process.stdin.once('end', () => {
  clearTimeout(timer);
  for (const drop of underWay) drop();
});

function beginDue(): void {
  for (; begin + begun * periodMs <= performance.now(); begun++) {
    attempt(task.addresses[begun % task.addresses.length] ?? '');
  }
  timer = setTimeout(beginDue, begin + begun * periodMs - performance.now());
}

function attempt(client: string): void {
  const started = performance.now();
  const socket = connect({ host: task.service, port: 80, localAddress: client });
  const drop = (): void => {
    clearTimeout(timeout);
    underWay.delete(drop);
    // A reset, so that no port waits for late segments of a connection that is over; it would wait for one that is not yet.
    if (socket.connecting) socket.destroy();
    else socket.resetAndDestroy();
  };
  const end = (opened: boolean): void => {
    if (!underWay.has(drop)) return;
    drop();
    const durationMs = performance.now() - started;
    const record: ProbeRecord = { kind: 'probe', at: unixMsOf(started), durationMs, client, opened };
    process.stdout.write(`${JSON.stringify(record)}\n`);
  };
  const timeout = setTimeout(() => end(false), task.timeoutMs);
  underWay.add(drop);
  socket.once('connect', () => end(true));
  socket.on('error', () => end(false));
}
