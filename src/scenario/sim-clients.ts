import type { ClientRecord } from './clients.ts';
import { startSessions } from './sim-sessions.ts';
import type { SimulatedConnection, Simulation } from './simulation.ts';
import type { Workload } from './workload-schema.ts';

/** Kinds of workload that the simulator has clients for. */
export const simulatedKinds = ['http', 'tcp-echo', 'probe', 'ping'] as const;
export type SimulatedWorkload = Extract<Workload, { kind: (typeof simulatedKinds)[number] }>;

export function isSimulated(workload: Workload): workload is SimulatedWorkload {
  return (simulatedKinds as readonly string[]).includes(workload.kind);
}

/** What the clients of all workloads share. */
export interface SimulatedClients {
  readonly simulation: Simulation;
  /** By index, as the simulation knows them. */
  readonly addresses: readonly string[];
  add(record: ClientRecord): void;
  /** Nothing new is begun. */
  ending: boolean;
  /** What is to be told at the end. */
  readonly closers: (() => void)[];
  /** Requests that are not answered yet. */
  underWay: number;
}

/** Has simulated clients do what the programs of the lab do. */
export function startSimulatedClients(clients: SimulatedClients, workloads: readonly SimulatedWorkload[]): void {
  for (const [index, workload] of workloads.entries()) {
    if (workload.kind === 'http') startHttp(clients, workload);
    else if (workload.kind === 'probe') startProbes(clients, workload);
    else startSessions(clients, workload, index);
  }
}

/** Every period, until the end. */
function every(
  { simulation }: SimulatedClients,
  periodMs: number,
  isOver: () => boolean,
  begin: (index: number) => void,
): void {
  let index = 0;
  const next = (): void => {
    if (isOver()) return;
    begin(index++);
    simulation.after(periodMs, next);
  };
  next();
}

interface Outcome {
  readonly port: number | null;
  readonly replica: string | null;
  readonly failure: string | null;
  readonly reset: boolean;
}

/** A connection with the request that is under way on it; null for none. */
interface Line {
  connection: SimulatedConnection;
  end: ((outcome: Omit<Outcome, 'port'>) => void) | null;
  open: boolean;
}

type HttpWorkload = Extract<Workload, { kind: 'http' }>;

/** Every other request on a connection that is kept, as browsers do. */
function startHttp(clients: SimulatedClients, { ratePerSecond, timeoutMs }: HttpWorkload): void {
  const { simulation, addresses, add } = clients;
  const kept = new Map<number, Line>();
  const attempt = (which: number, keep: boolean, then: (outcome: Outcome) => void): void => {
    const idle = keep ? kept.get(which) : undefined;
    const line = idle?.end === null && idle.open ? idle : newLine(clients, which);
    const { connection } = line;
    let over = false;
    const end = (outcome: Omit<Outcome, 'port'>): void => {
      if (over) return;
      over = true;
      line.end = null;
      if (keep && line.open) kept.set(which, line);
      else if (line.open) connection.close();
      then({ port: connection.port, ...outcome });
    };
    line.end = end;
    if (line === idle) connection.ask();
    simulation.after(timeoutMs, () => {
      if (over) return;
      line.open = false;
      connection.drop();
      end({ replica: null, failure: 'no answer in time', reset: false });
    });
  };
  const fetchOne = (index: number): void => {
    const which = (index >> 1) % addresses.length;
    const at = simulation.now;
    clients.underWay++;
    const end = (retried: boolean, { port, replica, failure }: Outcome): void => {
      clients.underWay--;
      const durationMs = simulation.now - at;
      const client = addresses[which] ?? '';
      add({ kind: 'request', at, durationMs, client, clientPort: port, replica, retried, failure });
    };
    attempt(which, index % 2 === 1, (first) => {
      if (!first.reset) end(false, first);
      else attempt(which, false, (second) => end(true, second));
    });
  };
  every(clients, 1000 / ratePerSecond, () => clients.ending, fetchOne);
}

/** Asks as soon as it is open. */
function newLine({ simulation }: SimulatedClients, which: number): Line {
  const connection = simulation.connect(which, {
    opened(): void {
      line.open = true;
      connection.ask();
    },
    answered: (replica) => line.end?.({ replica, failure: null, reset: false }),
    ended(how): void {
      line.open = false;
      line.end?.({ replica: null, failure: how, reset: how === 'reset' });
    },
  });
  const line: Line = { connection, end: null, open: false };
  return line;
}

type ProbeWorkload = Extract<Workload, { kind: 'probe' }>;

function startProbes(clients: SimulatedClients, { intervalMs, timeoutMs }: ProbeWorkload): void {
  const { simulation, addresses, add } = clients;
  const attempt = (which: number): void => {
    const at = simulation.now;
    let over = false;
    const end = (opened: boolean): void => {
      if (over || clients.ending) return;
      over = true;
      connection.drop();
      add({ kind: 'probe', at, durationMs: simulation.now - at, client: addresses[which] ?? '', opened });
    };
    const connection = simulation.connect(which, {
      opened: () => end(true),
      answered: () => {},
      ended: () => end(false),
    });
    simulation.after(timeoutMs, () => end(false));
  };
  every(
    clients,
    intervalMs / addresses.length,
    () => clients.ending,
    (index) => attempt(index % addresses.length),
  );
}
