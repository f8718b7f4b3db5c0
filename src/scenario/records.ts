import type { CapturedSegment } from '../lab/index.ts';
import type { RoutingRecord } from './routing.ts';

/** One HTTP request as a client saw it. Times are Unix milliseconds. */
export interface RequestRecord {
  readonly kind: 'request';
  readonly at: number;
  readonly durationMs: number;
  readonly client: string;
  /** Port of the connection that the last attempt used; null when there was none. */
  readonly clientPort: number | null;
  /** The replica that says it answered; null when none did. */
  readonly replica: string | null;
  readonly retried: boolean;
  /** Null for a good answer. */
  readonly failure: string | null;
}

/** One thing that happened to a long-lived session. */
export interface SessionRecord {
  readonly kind: 'session';
  /** `open`: the first right answer of a connection. `moved`: another replica went on with it. `reset`, `stall`, `closed`, `wrong`: how a connection ended. `failed`: could not connect. */
  readonly what: 'open' | 'moved' | 'reset' | 'stall' | 'closed' | 'wrong' | 'failed';
  readonly at: number;
  readonly session: string;
  readonly client: string;
  readonly replica: string | null;
}

/** A kernel accepts exactly these slots since some instant between `begin` and `end`. */
export interface TableRecord {
  readonly replica: string;
  readonly begin: number;
  readonly end: number;
  readonly slots: ReadonlySet<number>;
}

/** A fresh connection that a client asked for. */
export interface ProbeRecord {
  readonly kind: 'probe';
  readonly at: number;
  readonly durationMs: number;
  readonly client: string;
  /** Whether it was opened. */
  readonly opened: boolean;
}

/** A while of a connection that is never silent. */
export interface PingRecord {
  readonly kind: 'ping';
  /** When the longest pause of this while ended, with an answer or with the run. */
  readonly at: number;
  readonly client: string;
  /** The longest pause between two answers. */
  readonly gapMs: number;
  /** Times that the connection was lost. */
  readonly lost: number;
}

/** A while of one flow of numbered datagrams. */
export interface DatagramsRecord {
  readonly kind: 'datagrams';
  readonly at: number;
  readonly client: string;
  readonly sent: number;
  /** Without an answer in time. */
  readonly lost: number;
  /** Answers to nothing that was asked, or second ones. */
  readonly wrong: number;
  /** Answers of another replica than the one before. */
  readonly moved: number;
  /** Answers, but the first, of a server that takes the flow for a new one. */
  readonly forgotten: number;
  /** Flows that were answered: one at most. */
  readonly begun: readonly FlowBegun[];
}

/** A flow took its replica somewhere between its first datagram and the first answer: any of its datagrams may have been the one that arrived first. */
export interface FlowBegun {
  readonly sentAt: number;
  readonly answeredAt: number;
  readonly replica: string;
}

/** What came of a stream that is over. */
export interface BytesRecord {
  readonly kind: 'bytes';
  readonly at: number;
  readonly client: string;
  /** Bytes that arrived and were looked at, both ways; only here when the stream was lost. */
  readonly checked: number;
  /** Bytes that were lost, doubled or changed. */
  readonly wrong: number;
}

/** A while of an open session. */
export interface WaitRecord {
  readonly kind: 'wait';
  /** When the longest wait of this while ended, or was looked at. */
  readonly at: number;
  readonly session: string;
  readonly client: string;
  /** How long it waited for an answer, or for bytes, and got nothing. */
  readonly waitMs: number;
}

/** A command that has ended. */
export interface CommandRecord {
  readonly kind: 'command';
  readonly began: number;
  /** When it ended. */
  readonly at: number;
  /** The address it was given. */
  readonly client: string;
  readonly command: string;
  /** As a shell tells it: 128 and the signal's number where one ended it. */
  readonly exitCode: number;
}

/** What may happen to one replica; `continue` ends a `stop`. */
export type ReplicaStep =
  | 'cut'
  | 'heal'
  | 'kill agent'
  | 'kill host'
  | 'kill server'
  | 'stop'
  | 'continue'
  | 'restart'
  | 'upgrade'
  | 'drain'
  | 'undrain'
  | 'leave'
  | 'destroy state'
  | 'flush';

/** A step of the timeline: when it began; for that of one replica also when it had its effect. */
export type StepRecord =
  | {
      readonly what: 'policy' | 'move' | 'block' | 'loss' | 'revoke' | 'withdraw' | 'router' | 'impostor';
      readonly at: number;
      readonly label: string;
    }
  | { readonly what: ReplicaStep; readonly at: number; readonly done: number; readonly replica: string };

/** All that a run recorded. */
export interface RunRecords {
  readonly begin: number;
  readonly end: number;
  readonly replicas: readonly string[];
  readonly sessionsAsked: number;
  /** On their way, held by others than their owner, or nobody's, when the timeline ended. */
  readonly slotsUnsettled: number;
  readonly requests: readonly RequestRecord[];
  readonly sessions: readonly SessionRecord[];
  readonly probes: readonly ProbeRecord[];
  readonly pings: readonly PingRecord[];
  readonly datagrams: readonly DatagramsRecord[];
  readonly bytes: readonly BytesRecord[];
  readonly waits: readonly WaitRecord[];
  readonly commands: readonly CommandRecord[];
  readonly tables: readonly TableRecord[];
  readonly steps: readonly StepRecord[];
  readonly routing: RoutingRecord;
  readonly segments: readonly CapturedSegment[];
  readonly drops: number;
}
