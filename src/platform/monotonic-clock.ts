import type { Clock } from '../ports/clock.ts';

/** CLOCK_MONOTONIC in milliseconds; it stands still while the machine is suspended. */
export const monotonicClock: Clock = {
  now: () => performance.now(),
  wakeAt(at: number, callback: () => void): () => void {
    const timer = setTimeout(callback, Math.max(0, Math.ceil(at - performance.now())));
    return () => clearTimeout(timer);
  },
};

/** Unix time in milliseconds with fractions of an instant of `monotonicClock`, comparable between processes of one machine. */
export function unixMsOf(at: number): number {
  return performance.timeOrigin + at;
}
