// Processor time, which a busy machine does not lengthen as it does the clock.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** USER_HZ, proc(5). */
const ticksPerSecond = 100;

/** Milliseconds so far of all that runs in the namespaces, threads included: `agent`, of manycast's agents, and `all`. Those in the kernel on their behalf are in it. */
export function cpuMsOf(namespaces) {
  const spent = { agent: 0, all: 0 };
  for (const namespace of namespaces) {
    const pids = execFileSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).split('\n').filter(Boolean);
    for (const pid of pids) {
      const ms = cpuMs(pid);
      spent.all += ms;
      if (isAgent(pid)) spent.agent += ms;
    }
  }
  return spent;
}

function cpuMs(pid) {
  const fields = read(`/proc/${pid}/stat`).split(') ').at(-1).split(' ');
  return ((Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * 1000) / ticksPerSecond;
}

function isAgent(pid) {
  return read(`/proc/${pid}/cmdline`).split('\0').includes('agent');
}

/** Empty of a process that has ended. */
function read(path) {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
