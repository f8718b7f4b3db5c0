import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../base/operating-error.ts';
import { type LabPlan, spawnOn } from '../lab/index.ts';
import { startCommand } from './command.ts';
import type {
  BytesRecord,
  CommandRecord,
  DatagramsRecord,
  PingRecord,
  ProbeRecord,
  RequestRecord,
  SessionRecord,
  WaitRecord,
} from './records.ts';
import type { Workload } from './workload-schema.ts';

export type ClientRecord =
  | RequestRecord
  | SessionRecord
  | ProbeRecord
  | PingRecord
  | DatagramsRecord
  | BytesRecord
  | WaitRecord
  | CommandRecord;

export interface RunningClients {
  /** Lets everything under way end, then resolves. */
  end(): Promise<void>;
}

/** Starts one process for each workload on each client machine; a command on the one it names. */
export function startClients(
  plan: LabPlan,
  workloads: readonly Workload[],
  onRecord: (record: ClientRecord) => void,
): RunningClients {
  const running = workloads.flatMap((workload, index) => {
    if (workload.kind === 'command') return [startCommand(plan, workload, onRecord)];
    return plan.clients.map((client, which) => {
      const task = { service: plan.service.address, ...taskOf(workload, index, plan, which) };
      return startClient(plan, client.name, programs[workload.kind], task, onRecord);
    });
  });
  return {
    async end(): Promise<void> {
      await Promise.all(running.map((each) => each.end()));
    },
  };
}

const programs = {
  http: 'http-client-main.js',
  'tcp-echo': 'tcp-echo-client-main.js',
  probe: 'probe-client-main.js',
  ping: 'ping-client-main.js',
  'udp-echo': 'udp-echo-client-main.js',
  stream: 'stream-client-main.js',
} as const;

type Programmed = Exclude<Workload, { kind: 'command' }>;

/** The part of a workload that one client machine does. */
function taskOf(workload: Programmed, index: number, plan: LabPlan, which: number): Readonly<Record<string, unknown>> {
  const addresses = plan.clients[which]?.addresses ?? [];
  const machines = plan.clients.length;
  switch (workload.kind) {
    case 'http':
      return { addresses, ratePerSecond: workload.ratePerSecond / machines, timeoutMs: workload.timeoutMs };
    case 'probe':
      return { addresses, intervalMs: workload.intervalMs, timeoutMs: workload.timeoutMs };
    case 'tcp-echo': {
      const mine = spread(workload.sessions, machines, which, addresses);
      const sessions = mine.map(({ i, client }) => ({ name: `${index}.${i}`, client }));
      return { sessions, intervalMs: workload.intervalMs, stallMs: workload.stallMs };
    }
    case 'stream': {
      const mine = spread(workload.streams, machines, which, addresses);
      const sessions = mine.map(({ i, client }) => ({ name: `${index}.${i}`, client }));
      return { sessions, bytesPerSecond: workload.bytesPerSecond ?? 0, stallMs: workload.stallMs };
    }
    case 'udp-echo': {
      const clients = spread(workload.flows, machines, which, addresses).map(({ client }) => client);
      const { intervalMs, timeoutMs, lifeMs = 0 } = workload;
      return { clients, intervalMs, timeoutMs, lifeMs };
    }
    case 'ping': {
      const clients = spread(workload.connections, machines, which, addresses).map(({ client }) => client);
      return { clients, intervalMs: workload.intervalMs, stallMs: workload.stallMs };
    }
  }
}

/** Of `total` connections, numbered from 0, those of one machine, spread over its addresses. */
function spread(
  total: number,
  machines: number,
  which: number,
  addresses: readonly string[],
): { readonly i: number; readonly client: string }[] {
  const mine = Array.from({ length: total }, (_, i) => i).filter((i) => i % machines === which);
  return mine.map((i, k) => ({
    i,
    client: addresses[Math.floor((k * addresses.length) / mine.length) % addresses.length] ?? '',
  }));
}

function startClient(
  plan: LabPlan,
  node: string,
  program: string,
  task: Readonly<Record<string, unknown>>,
  onRecord: (record: ClientRecord) => void,
): RunningClients {
  const path = fileURLToPath(new URL(program, import.meta.url));
  const child = spawnOn(plan, node, [process.execPath, path, JSON.stringify(task)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  // Writing to a client that has ended is no failure of the run; that it ended is.
  child.stdin?.on('error', () => {});
  if (child.stdout) {
    createInterface({ input: child.stdout }).on('line', (line) => onRecord(JSON.parse(line) as ClientRecord));
  }
  return {
    async end(): Promise<void> {
      if (child.exitCode !== null) throw new OperatingError('scenario', `the clients on ${node} ended early`);
      child.stdin?.end();
      await closed;
    },
  };
}
