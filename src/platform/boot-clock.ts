import type { Clock } from '../ports/clock.ts';
import { bootMilliseconds } from './libc.ts';

/**
 * CLOCK_BOOTTIME in milliseconds: the same for all processes of a machine outside time namespaces (time_namespaces(7)), and it goes on while the machine is
 * suspended. Its timers do not; they are late by so much.
 */
export const bootClock: Clock = {
  now: bootMilliseconds,
  wakeAt(at: number, callback: () => void): () => void {
    const timer = setTimeout(callback, Math.max(0, Math.ceil(at - bootMilliseconds()))).unref();
    return () => clearTimeout(timer);
  },
};
