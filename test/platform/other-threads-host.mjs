// Raises its priority, then that of its other threads, and tells how many the kernel has in which scheduling policy.
import { readdirSync, readFileSync } from 'node:fs';
import { raiseOtherThreads } from '../../dist/platform/other-threads.js';
import { raisePriority } from '../../dist/platform/process-priority.js';

/** Field 41 of proc_pid_stat(5), counted behind the name. */
function policies() {
  return readdirSync('/proc/self/task').map((thread) => {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38]);
  });
}

const said = process.argv[2] === 'raise' ? raisePriority() : 'normal';
const before = policies();
const raised = raiseOtherThreads();
process.stdout.write(JSON.stringify({ said, before, raised, after: policies() }));
