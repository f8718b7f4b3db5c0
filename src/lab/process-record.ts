import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** A process that outlives the command that started it; its start time tells it from a later one with the same number. */
export interface ProcessRecord {
  readonly pid: number;
  /** Clock ticks since boot, field 22 of /proc/PID/stat. */
  readonly startTime: string;
}

const pollMs = 20;

/** Starts `argv` in a session of its own, its output appended to a log file. */
export function spawnDetached(argv: readonly string[], logPath: string, env: NodeJS.ProcessEnv): ProcessRecord {
  const log = openSync(logPath, 'a', 0o600);
  try {
    const [command = '', ...args] = argv;
    const child: ChildProcess = spawn(command, args, { detached: true, stdio: ['ignore', log, log], env });
    // A failure to start shows as a process that is not there.
    child.on('error', () => {});
    child.unref();
    const pid = child.pid ?? 0;
    return { pid, startTime: startTimeOf(pid) ?? '' };
  } finally {
    closeSync(log);
  }
}

export function isAlive({ pid, startTime }: ProcessRecord): boolean {
  return startTime !== '' && startTimeOf(pid) === startTime;
}

/** Asks the process and all of its group to end; insists after `patienceMs`. Resolves when the process is gone; others of its group may outlive it. */
export async function endProcess(
  record: ProcessRecord,
  patienceMs: number,
  signal: NodeJS.Signals = 'SIGTERM',
): Promise<void> {
  signalProcess(record, signal);
  // One that is stopped does not hear it before it goes on.
  signalProcess(record, 'SIGCONT');
  for (let waited = 0; isAlive(record); waited += pollMs) {
    if (waited >= patienceMs) signalProcess(record, 'SIGKILL');
    await delay(pollMs);
  }
}

/** Signals the process and all of its group, if it lives. */
export function signalProcess(record: ProcessRecord, name: NodeJS.Signals): void {
  if (!isAlive(record)) return;
  try {
    process.kill(-record.pid, name);
  } catch {
    // Gone between the look and the signal.
  }
}

/** Undefined when there is no such process, or only its remains. */
function startTimeOf(pid: number): string | undefined {
  try {
    // The name in field 2 may hold anything; the fields after its closing bracket are numbered from 3.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
