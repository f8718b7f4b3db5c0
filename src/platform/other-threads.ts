import { readdirSync } from 'node:fs';
import koffi from 'koffi';
import { linux, scheduler } from './libc.ts';

const library = koffi.load('libc.so.6');
const setSchedulerCall = library.func('int sched_setscheduler(int pid, int policy, void *parameters)');
/** The priority that `raisePriority` gives. */
const priority = 1;

/**
 * Gives all other threads of this process the real-time class of the calling one, if it has it, and returns how many took it. The garbage collector's threads are among them: V8 posts the same task
 * to the main thread over and over until they are done, and a real-time thread that spins so keeps them from their processors until the kernel's bound stops it, after 950 ms.
 */
export function raiseOtherThreads(): number {
  const policy = scheduler();
  const kind = policy & ~linux.SCHED_RESET_ON_FORK;
  if (kind !== linux.SCHED_RR && kind !== linux.SCHED_FIFO) return 0;
  const parameters = Uint8Array.from([priority, 0, 0, 0]);
  const threads = readdirSync('/proc/self/task').filter((thread) => Number(thread) !== process.pid);
  return threads.filter((thread) => setSchedulerCall(Number(thread), policy, parameters) === 0).length;
}
