import { createHealth, type HealthView, type Tolerance } from '../control/health.ts';
import { checkHealth, type HealthCheck } from '../platform/health-check.ts';
import type { Clock } from '../ports/clock.ts';

/** A check of the local server, and how often it is run. */
export type ScheduledCheck = HealthCheck &
  Tolerance & {
    /** From the beginning of a run to that of the next; a run that takes longer delays the next. */
    readonly intervalMs: number;
  };

export interface HealthWatchParts {
  readonly checks: readonly ScheduledCheck[];
  readonly clock: Clock;
  /** Called when the local server has become healthy or ceased to be, with why not; never for what it is at the start. */
  readonly onChange: (healthy: boolean, reason: string | null) => void;
  /** Runs one check; as `checkHealth`, unless told otherwise. */
  readonly run?: (check: HealthCheck, signal: AbortSignal) => Promise<string | null>;
}

/** The checks of the local server, running. */
export interface HealthWatch {
  view(): HealthView;
  /** Ends what runs; nothing is called back afterwards. */
  stop(): void;
}

/** Runs every check at once and then on its interval, each at most once at a time. Without checks the server is always healthy. */
export function watchHealth({ checks, clock, onChange, run = checkHealth }: HealthWatchParts): HealthWatch {
  const health = createHealth(checks, clock.now());
  const stops = checks.map((check, index) =>
    repeat(clock, check.intervalMs, async (signal) => {
      const problem = await run(check, signal);
      if (signal.aborted) return;
      const change = health.handle({ at: clock.now(), check: index, problem });
      if (change) onChange(change.healthy, change.reason);
    }),
  );
  return {
    view: () => health.view(),
    stop(): void {
      for (const stop of stops) stop();
    },
  };
}

/** Returns what ends it. */
function repeat(clock: Clock, intervalMs: number, once: (signal: AbortSignal) => Promise<void>): () => void {
  const stopped = new AbortController();
  let cancel = (): void => {};

  async function next(): Promise<void> {
    const begin = clock.now();
    await once(stopped.signal);
    if (!stopped.signal.aborted) cancel = clock.wakeAt(begin + intervalMs, () => void next());
  }

  void next();
  return () => {
    stopped.abort();
    cancel();
  };
}
