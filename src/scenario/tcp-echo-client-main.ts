import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import type { SessionRecord, WaitRecord } from './records.ts';
import { createWaits } from './waits.ts';

// Runs on a client machine: long-lived sessions with port 7 of a service. Each sends numbered lines one at a time and checks every
// answer; when its connection is lost it connects anew. One record a line; ends when standard input does.
interface EchoClientTask {
  readonly service: string;
  /** Name and client address of each session. */
  readonly sessions: readonly { readonly name: string; readonly client: string }[];
  readonly intervalMs: number;
  readonly stallMs: number;
}

const task = JSON.parse(process.argv[2] ?? '') as EchoClientTask;
const reconnectMs = 50;
const waits = createWaits(say);
const connections = new Set<{ close(): void }>();
let ending = false;
for (const { name, client } of task.sessions) begin(name, client, 0);
process.stdin.resume();
process.stdin.once('end', () => {
  ending = true;
  for (const connection of connections) connection.close();
  waits.close();
});

/** One connection of a session, from line number `next` on. */
function begin(session: string, client: string, next: number): void {
  if (ending) return;
  const socket = connect({ host: task.service, port: 7, localAddress: client });
  let replica: string | null = null;
  let asked = 0;
  let ended = false;
  const wait = waits.of(session, client);
  let timer: NodeJS.Timeout;
  const connection = {
    close(): void {
      clearTimeout(timer);
      socket.destroy();
      connections.delete(connection);
    },
  };
  connections.add(connection);
  socket.setNoDelay(true);

  const lose = (what: SessionRecord['what']): void => {
    if (ended || ending) return;
    ended = true;
    connection.close();
    wait.lost();
    record(replica === null ? 'failed' : what, session, client, replica);
    setTimeout(() => begin(session, client, next), reconnectMs);
  };
  const send = (): void => {
    asked++;
    socket.write(`${next}\n`);
    wait.begin();
    timer = setTimeout(() => lose('stall'), task.stallMs);
  };
  timer = setTimeout(() => lose('stall'), task.stallMs);
  socket.once('connect', () => {
    clearTimeout(timer);
    send();
  });
  const lines = createInterface({ input: socket });
  // It repeats the errors of its socket, which are handled there.
  lines.on('error', () => {});
  lines.on('line', (line) => {
    if (ended || ending) return;
    clearTimeout(timer);
    wait.over();
    const [who = '', count, number] = line.split(' ');
    // Another replica may answer, if the connection has been moved there: then it knows how many lines there were before.
    if (number !== String(next) || count !== String(asked)) return lose('wrong');
    if (who !== replica) record(replica === null ? 'open' : 'moved', session, client, who);
    replica = who;
    next++;
    timer = setTimeout(send, task.intervalMs);
  });
  socket.once('error', (error: NodeJS.ErrnoException) =>
    lose(error.code === 'ECONNRESET' || error.code === 'EPIPE' ? 'reset' : 'closed'),
  );
  socket.once('close', () => lose('closed'));
}

function record(what: SessionRecord['what'], session: string, client: string, replica: string | null): void {
  const at = unixMsOf(performance.now());
  say({ kind: 'session', what, at, session, client, replica });
}

function say(line: SessionRecord | WaitRecord): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
