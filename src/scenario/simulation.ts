import type { IpAddress } from '../base/address.ts';
import type { Policy } from '../policy/index.ts';

// What scenarios want of a simulator. The one there is knows nothing of scenarios: whoever composes both hands it over.

/** Makes a network in virtual time, in which all replicas serve. */
export type Simulator = (setup: SimulationSetup) => Promise<Simulation>;

export interface SimulationSetup {
  readonly seed: number;
  /** `r1` and so on. */
  readonly replicas: number;
  readonly clients: readonly IpAddress[];
  /** The partition. */
  readonly mask: string;
  readonly policy: Policy;
  /** All handoffs that policies of the scenario name. */
  readonly handoffs: ReadonlySet<string>;
  /** The shortest drain deadline of its policies. */
  readonly drainMs: number;
  readonly watch: SimulationWatch;
}

/** Times are virtual milliseconds. */
export interface SimulationWatch {
  table(
    replica: string,
    table: { readonly begin: number; readonly end: number; readonly slots: ReadonlySet<number> },
  ): void;
  /** `from` is the replica that sent it, null for the client. */
  segment(kind: 'syn' | 'syn-ack' | 'rst', client: string, clientPort: number, from: string | null): void;
}

export interface SimulatedConnectionEvents {
  opened(): void;
  answered(replica: string): void;
  /** `unanswered`: no SYN was answered. */
  ended(how: 'reset' | 'closed' | 'unanswered'): void;
}

export interface SimulatedConnection {
  readonly port: number;
  /** Sends the next request, once the connection is open and the last one answered. */
  ask(): void;
  close(): void;
  /** Without another event. */
  drop(): void;
}

export interface SimulatedStatus {
  readonly node: string;
  readonly verdict: string;
  readonly epoch: number;
  readonly coordinator: string | null;
  readonly owners: readonly (string | null)[];
  readonly moving: readonly number[];
  readonly held: readonly number[];
}

export type SimulatedChange =
  | { readonly kind: 'move'; readonly slots: readonly number[]; readonly name: string }
  | { readonly kind: 'drain' | 'undrain'; readonly name: string };

/** A network in virtual time. Replicas are named. */
export interface Simulation {
  readonly now: number;
  /** The first promise of the system that was broken; nothing happens after it. */
  readonly violation: { readonly invariant: string; readonly what: string; readonly at: number } | null;
  after(ms: number, run: () => void): void;
  /** Lets time pass; false when a violation has ended it. */
  run(ms: number): Promise<boolean>;
  /** From the client of this index. */
  connect(client: number, events: SimulatedConnectionEvents): SimulatedConnection;
  /** Of the agents that are there. */
  statuses(): readonly SimulatedStatus[];
  policy(policy: Policy): void;
  /** Null when it is done, a move as far as `until`; else why not, one line. */
  change(change: SimulatedChange, until: string): Promise<string | null>;
  killAgent(replica: string): void;
  killHost(replica: string): void;
  destroyState(replica: string): void;
  stop(replica: string, ms: number): void;
  leave(replica: string): void;
  restart(replica: string): Promise<void>;
  upgrade(replica: string): Promise<void>;
  flush(replica: string): void;
  cut(replica: string): void;
  heal(replica: string): void;
  /** One way, on the control channel. */
  block(from: string, to: string): void;
  /** Of the datagrams of the control channel, in [0, 1]. */
  lose(part: number): void;
}
