import { readFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { OperatingError } from '../base/operating-error.ts';
import { linux, scheduler, setScheduler } from './libc.ts';

/** The kernel's share of a period for all real-time threads of a processor, in microseconds; -1 is no bound (sched-rt-group.rst). */
const realTimeBound = '/proc/sys/kernel/sched_rt_runtime_us';
const realTime = linux.SCHED_RR | linux.SCHED_RESET_ON_FORK;
const niceWanted = [-20, -15, -10, -5];

/**
 * Raises the calling thread, which is the one that keeps the lease, as far as the host lets it; the words are for the log. Threads and programs
 * that it starts later stay normal (SCHED_RESET_ON_FORK). Needs CAP_SYS_NICE, or the limits RLIMIT_RTPRIO or RLIMIT_NICE.
 *
 * Nice weighs threads only within one control group, so beside many busy services it is not enough: real time is tried first, at the lowest
 * priority. A runaway agent must not take the machine for it, so the kernel must bound real-time threads (by default to 95 %); where that is
 * switched off, nice is all. RLIMIT_RTTIME is no substitute: a thread that is stuck does not see the signal, and the limit after it kills an
 * agent for one long computation that the lease already fences.
 */
export function raisePriority(): string {
  if (isRealTime() || (isRealTimeBounded() && isAllowed(() => setScheduler(realTime, 1)))) return 'real-time';
  isAllowed(() => setScheduler(linux.SCHED_OTHER | linux.SCHED_RESET_ON_FORK, 0));
  const given = getPriority();
  const nice = niceWanted.find((each) => each < given && isAllowed(() => setPriority(each))) ?? given;
  return nice < 0 ? `nice ${nice}` : 'normal: not permitted';
}

/** Whoever started the agent may have chosen it, with a priority of their own. */
function isRealTime(): boolean {
  const policy = scheduler() & ~linux.SCHED_RESET_ON_FORK;
  return policy === linux.SCHED_FIFO || policy === linux.SCHED_RR;
}

function isRealTimeBounded(): boolean {
  try {
    return Number(readFileSync(realTimeBound, 'utf8')) > 0;
  } catch {
    return false;
  }
}

function isAllowed(raise: () => void): boolean {
  try {
    raise();
    return true;
  } catch (error) {
    // What libc refused, and what Node's own call did.
    if (error instanceof OperatingError || (error as NodeJS.ErrnoException).code === 'ERR_SYSTEM_ERROR') return false;
    throw error;
  }
}
