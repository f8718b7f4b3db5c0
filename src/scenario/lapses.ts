import type { RunRecords, StepRecord } from './records.ts';

/** A time in which a replica's kernel accepts nothing, whatever its newest table says. */
export interface Lapse {
  readonly replica: string;
  readonly from: number;
  /** Infinity where only a later table ends it. */
  readonly until: number;
}

/**
 * A kernel accepts until its lease ends, this long after its agent last armed a heartbeat that was answered (`leaseMs` of the agents' timers).
 * So the table of a replica counts until `leaseMs` after its agent was killed or stopped, not for ever.
 */
const leaseMs = 500;

/** What the steps of a timeline mean for what kernels accept. Leases that end for want of a majority are not known here: those tables count on. */
export function lapsesOf({ steps, tables }: Pick<RunRecords, 'steps' | 'tables'>): Lapse[] {
  const next = (replica: string, whats: readonly StepRecord['what'][], from: number): number =>
    Math.min(
      Number.POSITIVE_INFINITY,
      ...steps
        .filter((step) => 'replica' in step && step.replica === replica && whats.includes(step.what) && step.at > from)
        .map(({ at }) => at),
    );
  /** A table that was programmed after a death is that of the agent that followed. */
  const nextTable = (replica: string, from: number): number =>
    Math.min(
      Number.POSITIVE_INFINITY,
      ...tables.filter((table) => table.replica === replica && table.begin > from).map(({ begin }) => begin),
    );
  return steps.flatMap((step): Lapse[] => {
    if (!('replica' in step)) return [];
    const { replica, done } = step;
    switch (step.what) {
      case 'cut':
        return [{ replica, from: done, until: next(replica, ['heal'], done) }];
      case 'kill host':
        return [{ replica, from: done, until: nextTable(replica, done) }];
      case 'kill agent':
      case 'destroy state':
        return [{ replica, from: done + leaseMs, until: nextTable(replica, done) }];
      case 'stop':
        return [{ replica, from: done + leaseMs, until: next(replica, ['continue'], done) }];
      default:
        return [];
    }
  });
}
