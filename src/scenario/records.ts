import type { CapturedSegment } from '../lab/index.ts';

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
  /** `open`: the first right answer of a connection. `reset`, `stall`, `closed`, `wrong`: how a connection ended. `failed`: could not connect. */
  readonly what: 'open' | 'reset' | 'stall' | 'closed' | 'wrong' | 'failed';
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

/** A step of the timeline, when it was done. */
export type StepRecord =
  | { readonly what: 'policy'; readonly at: number; readonly label: string }
  | { readonly what: 'cut'; readonly at: number; readonly replica: string };

/** All that a run recorded. */
export interface RunRecords {
  readonly begin: number;
  readonly end: number;
  readonly replicas: readonly string[];
  readonly sessionsAsked: number;
  readonly requests: readonly RequestRecord[];
  readonly sessions: readonly SessionRecord[];
  readonly tables: readonly TableRecord[];
  readonly steps: readonly StepRecord[];
  readonly segments: readonly CapturedSegment[];
  readonly drops: number;
}
