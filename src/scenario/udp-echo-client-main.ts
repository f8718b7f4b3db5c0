import { createSocket } from 'node:dgram';
import { isMulticast, parseIp } from '../base/address.ts';
import { udpEchoPort } from '../lab/udp-echo.ts';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import type { DatagramsRecord, FlowBegun } from './records.ts';

// Runs on a client machine: numbered datagrams to a service, or to its group, at a steady pace, answered or not; each answer is checked. The counts of a while a
// line; ends when standard input does, after the last answer or when it is late.
interface UdpEchoClientTask {
  readonly service: string;
  readonly clients: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Each flow ends after this long, and another begins; 0 for never. */
  readonly lifeMs: number;
}

const task = JSON.parse(process.argv[2] ?? '') as UdpEchoClientTask;
const service = parseIp(task.service);
const isGroup = service.ok && isMulticast(service.value);
const whileMs = 250;
const closers = new Set<() => void>();
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
  /** Its first datagram. */
  let sentAt = 0;
  let replica: string | null = null;
  let counts = noCounts();
  let sending: NodeJS.Timeout | undefined;
  let ending = false;
  const send = (): void => {
    const now = performance.now();
    if (next === 0) sentAt = unixMsOf(now);
    unanswered.set(next, now);
    counts.sent++;
    // What cannot be sent is as lost as what does not arrive.
    socket.send(`${next++}`, udpEchoPort, task.service, () => {});
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
    counts = noCounts();
    if (!ending || unanswered.size > 0) return;
    clearInterval(telling);
    socket.close();
  };
  const telling = setInterval(tell, whileMs);
  socket.on('error', () => {});
  socket.on('message', (answer) => {
    const [from = '', number = '', count] = answer.toString('latin1').split(' ');
    const expected = unanswered.delete(Number(number)) || lost.delete(Number(number));
    if (!/^\d+$/.test(number) || !expected) counts.wrong++;
    if (replica === null && expected)
      counts.begun.push({ sentAt, answeredAt: unixMsOf(performance.now()), replica: from });
    if (replica !== null && replica !== from) counts.moved++;
    if (replica !== null && count === '1') counts.forgotten++;
    replica = from;
  });
  socket.bind(0, client, () => {
    if (isGroup) socket.setMulticastInterface(client);
    if (!ending) sending = setInterval(send, task.intervalMs);
  });
  const end = (): void => {
    ending = true;
    clearInterval(sending);
    clearTimeout(renewing);
    closers.delete(end);
  };
  const renewing = setTimeout(() => {
    if (task.lifeMs === 0) return;
    end();
    begin(client);
  }, task.lifeMs);
  closers.add(end);
}

/** Of a while. */
interface Counts {
  sent: number;
  lost: number;
  wrong: number;
  moved: number;
  forgotten: number;
  readonly begun: FlowBegun[];
}

function noCounts(): Counts {
  return { sent: 0, lost: 0, wrong: 0, moved: 0, forgotten: 0, begun: [] };
}
