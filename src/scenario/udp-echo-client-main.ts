import { createSocket } from 'node:dgram';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import type { DatagramsRecord } from './records.ts';

// Runs on a client machine: numbered datagrams to port 7 of a service at a steady pace, answered or not; each answer is checked. The counts of a while a
// line; ends when standard input does, after the last answer or when it is late.
interface UdpEchoClientTask {
  readonly service: string;
  readonly clients: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

const task = JSON.parse(process.argv[2] ?? '') as UdpEchoClientTask;
const whileMs = 250;
const closers: (() => void)[] = [];
for (const client of task.clients) begin(client);
process.stdin.resume();
process.stdin.once('end', () => {
  for (const close of closers) close();
});

/** One flow: its socket stays the same. */
function begin(client: string): void {
  const socket = createSocket('udp4');
  /** When each datagram was sent that is not answered yet. */
  const unanswered = new Map<number, number>();
  /** Those that were given up: what comes late is lost, and not wrong. */
  const lost = new Set<number>();
  let next = 0;
  let counts = { sent: 0, lost: 0, wrong: 0 };
  let sending: NodeJS.Timeout | undefined;
  let ending = false;
  const send = (): void => {
    unanswered.set(next, performance.now());
    counts.sent++;
    // What cannot be sent is as lost as what does not arrive.
    socket.send(`${next++}`, 7, task.service, () => {});
  };
  const tell = (): void => {
    for (const [number, at] of unanswered) {
      if (performance.now() - at < task.timeoutMs) break;
      unanswered.delete(number);
      lost.add(number);
      counts.lost++;
    }
    const record: DatagramsRecord = { kind: 'datagrams', at: unixMsOf(performance.now()), client, ...counts };
    process.stdout.write(`${JSON.stringify(record)}\n`);
    counts = { sent: 0, lost: 0, wrong: 0 };
    if (!ending || unanswered.size > 0) return;
    clearInterval(telling);
    socket.close();
  };
  const telling = setInterval(tell, whileMs);
  socket.on('error', () => {});
  socket.on('message', (answer) => {
    const [, number = ''] = answer.toString('latin1').split(' ');
    const expected = unanswered.delete(Number(number)) || lost.delete(Number(number));
    if (!/^\d+$/.test(number) || !expected) counts.wrong++;
  });
  socket.bind(0, client, () => {
    if (!ending) sending = setInterval(send, task.intervalMs);
  });
  closers.push(() => {
    ending = true;
    clearInterval(sending);
  });
}
