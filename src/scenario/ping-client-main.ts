import { connect } from 'node:net';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import type { PingRecord } from './records.ts';

// Runs on a client machine: long-lived connections to port 7 of a service, a short line to and fro at once. Ten times a second, and when
// standard input ends, each tells its longest pause. One that is lost is opened anew, and the pause goes on until an answer.
interface PingClientTask {
  readonly service: string;
  /** Client address of each connection. */
  readonly clients: readonly string[];
  readonly intervalMs: number;
  readonly stallMs: number;
}

const task = JSON.parse(process.argv[2] ?? '') as PingClientTask;
const tellEveryMs = 100;
const reconnectMs = 10;
const pings = task.clients.map(begin);
const telling = setInterval(() => {
  for (const { tell } of pings) tell();
}, tellEveryMs);
process.stdin.resume();
process.stdin.once('end', () => {
  clearInterval(telling);
  for (const { end } of pings) end();
});

/** One connection after the other, from one address. */
function begin(client: string): { tell(): void; end(): void } {
  const pauses = pausesOf(client);
  let close = open();
  return {
    tell: pauses.tell,
    end(): void {
      close();
      pauses.end();
      pauses.tell();
    },
  };

  /** Returns what closes it for good. */
  function open(): () => void {
    const socket = connect({ host: task.service, port: 7, localAddress: client });
    let over = false;
    let opened = false;
    const stop = (): void => {
      over = true;
      clearTimeout(timer);
      socket.destroy();
    };
    const again = (): void => {
      if (over) return;
      stop();
      if (opened) pauses.lose();
      const waiting = setTimeout(() => {
        close = open();
      }, reconnectMs);
      close = () => clearTimeout(waiting);
    };
    const send = (): void => {
      clearTimeout(timer);
      socket.write('.\n');
      timer = setTimeout(again, task.stallMs);
    };
    let timer = setTimeout(again, task.stallMs);
    socket.setNoDelay(true);
    socket.once('connect', send);
    socket.on('data', () => {
      if (over) return;
      opened = true;
      pauses.end();
      clearTimeout(timer);
      timer = setTimeout(send, task.intervalMs);
    });
    socket.on('error', again);
    socket.on('close', again);
    return stop;
  }
}

interface Pauses {
  /** An answer has come. */
  end(): void;
  lose(): void;
  tell(): void;
}

function pausesOf(client: string): Pauses {
  let endedAt = performance.now();
  let longest = { at: endedAt, gapMs: 0 };
  let lost = 0;
  return {
    end(): void {
      const at = performance.now();
      if (at - endedAt > longest.gapMs) longest = { at, gapMs: at - endedAt };
      endedAt = at;
    },
    lose(): void {
      lost++;
    },
    tell(): void {
      if (longest.gapMs === 0) return;
      const record: PingRecord = { kind: 'ping', at: unixMsOf(longest.at), client, gapMs: longest.gapMs, lost };
      process.stdout.write(`${JSON.stringify(record)}\n`);
      longest = { at: endedAt, gapMs: 0 };
      lost = 0;
    },
  };
}
