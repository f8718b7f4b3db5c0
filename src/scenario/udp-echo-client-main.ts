import { createSocket } from 'node:dgram';
import { isMulticast, parseIp } from '../base/address.ts';
import { udpEchoPort } from '../lab/udp-echo.ts';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import { FlowTally } from './flow-tally.ts';
import type { DatagramsRecord } from './records.ts';

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
  const flow = new FlowTally(task.timeoutMs);
  let sending: NodeJS.Timeout | undefined;
  let ending = false;
  const tell = (): void => {
    const at = now();
    const record: DatagramsRecord = { kind: 'datagrams', at, client, ...flow.takeCounts(at) };
    process.stdout.write(`${JSON.stringify(record)}\n`);
    if (!ending || flow.isWaiting) return;
    clearInterval(telling);
    socket.close();
  };
  const telling = setInterval(tell, whileMs);
  socket.on('error', () => {});
  socket.on('message', (answer) => flow.answered(answer.toString('latin1'), now()));
  socket.bind(0, client, () => {
    if (isGroup) socket.setMulticastInterface(client);
    if (ending) return;
    // What cannot be sent is as lost as what does not arrive.
    const send = (): void => socket.send(flow.next(now()), udpEchoPort, task.service, () => {});
    sending = setInterval(send, task.intervalMs);
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

function now(): number {
  return unixMsOf(performance.now());
}
