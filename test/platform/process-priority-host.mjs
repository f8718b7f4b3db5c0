// Raises its priority and tells what it says of it, and the scheduling policy and nice value of its main thread and of a program it starts.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { raisePriority } from '../../dist/platform/process-priority.js';

/** Fields 19 and 41 of proc_pid_stat(5), counted behind the name. */
function scheduling(stat) {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { nice: Number(fields[16]), policy: Number(fields[38]) };
}

const said = raisePriority();
const again = raisePriority();
const own = scheduling(readFileSync('/proc/thread-self/stat', 'utf8'));
const child = scheduling(execFileSync('cat', ['/proc/self/stat'], { encoding: 'utf8' }));
process.stdout.write(JSON.stringify({ said, again, own, child }));
