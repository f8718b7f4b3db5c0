import { connect } from 'node:net';
import {
  countsOf,
  createPatternCheck,
  greetingBytes,
  nodeOf,
  type PatternCheck,
  rateHeader,
  type StreamCounts,
  sendPattern,
  streamPort,
  trailerBytes,
} from '../lab/stream.ts';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import type { BytesRecord, SessionRecord, WaitRecord } from './records.ts';
import { createWaits } from './waits.ts';

// Runs on a client machine: streams of bytes both ways, each byte checked here or by the server. A stream that is lost is begun anew. One record a line;
// ends when standard input does, after the servers have told what they received.
interface StreamClientTask {
  readonly service: string;
  /** Name and client address of each stream. */
  readonly sessions: readonly { readonly name: string; readonly client: string }[];
  /** Each way; 0 for as fast as it goes. */
  readonly bytesPerSecond: number;
  readonly stallMs: number;
}

const task = JSON.parse(process.argv[2] ?? '') as StreamClientTask;
const reconnectMs = 50;
const looksMs = 20;
const resets: readonly unknown[] = ['ECONNRESET', 'EPIPE'];
const streams = new Set<{ finish(): void }>();
const waits = createWaits(say);
let ending = false;
for (const { name, client } of task.sessions) begin(name, client);
process.stdin.resume();
process.stdin.once('end', () => {
  ending = true;
  for (const stream of streams) stream.finish();
  waits.close();
});

function begin(session: string, client: string): void {
  if (ending) return;
  const socket = connect({ host: task.service, port: streamPort, localAddress: client, allowHalfOpen: true });
  const incoming = readStream();
  const { check } = incoming;
  const wait = waits.of(session, client);
  let sender: ReturnType<typeof sendPattern> | null = null;
  let replica: string | null = null;
  let heardAt = performance.now();
  const note = (what: SessionRecord['what']): void => noteSession({ what, session, client, replica });
  const close = (): void => {
    clearInterval(looking);
    sender?.stop();
    streams.delete(stream);
    socket.destroy();
  };
  const lose = (what: SessionRecord['what']): void => {
    if (!streams.has(stream)) return;
    close();
    wait.lost();
    report(client, { checked: check.received, wrong: check.wrong });
    // At the end it is told too: the server's counts are missing.
    note(replica === null ? 'failed' : what);
    if (!ending) setTimeout(() => begin(session, client), reconnectMs);
  };
  const looking = setInterval(() => {
    if (performance.now() - heardAt > task.stallMs) lose('stall');
  }, looksMs);
  const stream = {
    finish(): void {
      sender?.stop();
      wait.over();
      if (replica === null) close();
      else socket.end();
    },
  };
  streams.add(stream);
  socket.setNoDelay(true);
  socket.once('connect', () => {
    socket.write(rateHeader(task.bytesPerSecond));
    sender = sendPattern(socket, task.bytesPerSecond);
  });
  socket.on('data', (chunk: Buffer) => {
    heardAt = performance.now();
    const greeted = replica !== null;
    replica = incoming.take(chunk);
    if (!greeted && replica !== null) note('open');
    if (replica !== null && !ending) wait.begin();
  });
  socket.once('end', () => {
    const server = incoming.trailer();
    if (!ending || server === null) return lose('closed');
    const missing = Math.abs(server.sent - check.received) + Math.abs((sender?.sent ?? 0) - server.received);
    close();
    report(client, { checked: check.received + server.received, wrong: Math.max(check.wrong + server.wrong, missing) });
  });
  socket.once('error', ({ code }: NodeJS.ErrnoException) => lose(resets.includes(code) ? 'reset' : 'closed'));
  socket.once('close', () => lose('closed'));
}

function noteSession(what: Omit<SessionRecord, 'kind' | 'at'>): void {
  say({ kind: 'session', at: unixMsOf(performance.now()), ...what });
}

function report(client: string, counts: Pick<BytesRecord, 'checked' | 'wrong'>): void {
  say({ kind: 'bytes', at: unixMsOf(performance.now()), client, ...counts });
}

interface StreamReader {
  readonly check: PatternCheck;
  /** The next bytes; the name of the replica once it is known. */
  take(chunk: Buffer): string | null;
  /** What the server has told at the end of all; null when it has not. */
  trailer(): StreamCounts | null;
}

/** What a server sends: its greeting, the pattern, its trailer. */
function readStream(): StreamReader {
  const check = createPatternCheck();
  /** What may still turn out to be the greeting, or the trailer. */
  let held = Buffer.alloc(0);
  let replica: string | null = null;
  return {
    check,
    take(chunk): string | null {
      held = Buffer.concat([held, chunk]);
      if (replica === null) {
        if (held.length < greetingBytes) return null;
        replica = nodeOf(held.subarray(0, greetingBytes));
        held = held.subarray(greetingBytes);
      }
      const patternEnd = Math.max(0, held.length - trailerBytes);
      check.take(held.subarray(0, patternEnd));
      held = Buffer.from(held.subarray(patternEnd));
      return replica;
    },
    trailer: () => (replica !== null && held.length === trailerBytes ? countsOf(held) : null),
  };
}

function say(record: SessionRecord | BytesRecord | WaitRecord): void {
  process.stdout.write(`${JSON.stringify(record)}\n`);
}
