import type { Logger } from 'pino';
import { messageOf } from '../base/operating-error.ts';
import { openKernelEvents } from '../platform/netlink-events.ts';

/** Also when nothing was told: a notice may be lost. */
const untoldMs = 30_000;
/** Between two readings of what the kernel tells: nobody asks more often, and with a routing daemon it tells much. */
const readMs = 1000;

/** Whether there is reason to compare the kernel with what it should be, which takes tens of milliseconds. */
export interface KernelTouches {
  /** Somebody has changed rules, addresses or routes since this was last true, or that was long ago. */
  take(now: number): boolean;
  /** There is reason still. */
  touch(): void;
  close(): Promise<void>;
}

export function watchTouches(log: Logger, now: number): KernelTouches {
  let isTouched = true;
  let isDeaf = false;
  let takenAt = now;
  const touch = (): void => {
    isTouched = true;
  };
  const onFailure = (error: unknown): void => {
    isDeaf = true;
    log.error({ err: error }, `the kernel's events are not read any more: ${messageOf(error)}`);
  };
  const events = openKernelEvents({ onRuleset: touch, onAddresses: touch, onRoutes: touch, onFailure }, readMs);
  return {
    take(at: number): boolean {
      if (!isTouched && !isDeaf && at < takenAt + untoldMs) return false;
      isTouched = false;
      takenAt = at;
      return true;
    },
    touch,
    close: () => events.close(),
  };
}
