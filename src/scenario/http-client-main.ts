import { Agent, type ClientRequest, request } from 'node:http';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import type { RequestRecord } from './records.ts';

// Runs on a client machine: GET requests to port 80 of a service, at a steady rate and from each address in turn; one record a line. Every other
// one uses a kept-alive connection, as a browser would. Ends when standard input does, after the last answer.
interface HttpClientTask {
  readonly service: string;
  readonly addresses: readonly string[];
  readonly ratePerSecond: number;
  readonly timeoutMs: number;
}

interface Attempt {
  readonly clientPort: number | null;
  readonly replica: string | null;
  readonly failure: string | null;
  readonly reset: boolean;
}

const task = JSON.parse(process.argv[2] ?? '') as HttpClientTask;
const keptAlive = task.addresses.map(
  (localAddress) => new Agent({ keepAlive: true, maxFreeSockets: 1, localAddress } as object),
);
const periodMs = 1000 / task.ratePerSecond;
const begin = performance.now();
let begun = 0;
let timer = setTimeout(beginDue, 0);
process.stdin.resume();
process.stdin.once('end', () => {
  clearTimeout(timer);
  for (const agent of keptAlive) agent.destroy();
});

/** On time whether earlier requests are answered or not. */
function beginDue(): void {
  for (; begin + begun * periodMs <= performance.now(); begun++) void fetchOne(begun);
  timer = setTimeout(beginDue, periodMs);
}

async function fetchOne(index: number): Promise<void> {
  const which = (index >> 1) % task.addresses.length;
  const client = task.addresses[which] ?? '';
  const agent = index % 2 === 1 ? keptAlive[which] : undefined;
  const started = performance.now();
  let outcome = await attempt(client, agent);
  // A GET may be asked once more when its connection is lost before an answer (RFC 9110 section 9.2.2); browsers do.
  const retried = outcome.reset;
  if (retried) outcome = await attempt(client, undefined);
  const record: RequestRecord = {
    kind: 'request',
    at: unixMsOf(started),
    durationMs: performance.now() - started,
    client,
    clientPort: outcome.clientPort,
    replica: outcome.replica,
    retried,
    failure: outcome.failure,
  };
  process.stdout.write(`${JSON.stringify(record)}\n`);
}

function attempt(localAddress: string, agent: Agent | undefined): Promise<Attempt> {
  return new Promise((resolve) => {
    let clientPort: number | null = null;
    const asked: ClientRequest = request({ host: task.service, path: '/', localAddress, agent: agent ?? false });
    const timeout = setTimeout(() => asked.destroy(new Error('no answer in time')), task.timeoutMs);
    const end = (part: Partial<Attempt>): void => {
      clearTimeout(timeout);
      resolve({ clientPort, replica: null, failure: null, reset: false, ...part });
    };
    asked.once('socket', (socket) => {
      const note = (): void => {
        clientPort = socket.localPort ?? null;
      };
      if (socket.connecting) socket.once('connect', note);
      else note();
    });
    asked.once('error', (error: NodeJS.ErrnoException) =>
      end({ failure: error.message, reset: error.code === 'ECONNRESET' || error.code === 'EPIPE' }),
    );
    asked.once('response', (response) => {
      const replica = String(response.headers['x-replica'] ?? '') || null;
      response.once('error', (error) => end({ replica, failure: error.message }));
      response.once('end', () =>
        end({ replica, failure: response.statusCode === 200 ? null : `status ${response.statusCode}` }),
      );
      response.resume();
    });
    asked.end();
  });
}
