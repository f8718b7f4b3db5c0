import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../base/operating-error.ts';
import { attendTo } from './attached-process.ts';
import { endProcess, isAlive, type ProcessRecord, spawnDetached } from './process-record.ts';
import { labHome, labNames, removeLabDirectory } from './state.ts';

/**
 * Namespaces of its own for an ordinary user, in which that user is root over networks that are theirs alone: user, network,
 * mounts, processes. `/run` is fresh, because `ip netns` keeps its names there. All in them ends with their first process.
 */
const unshare = ['unshare', '-Urnmpf', '--mount-proc', '--kill-child'];
/** Those of a program in the foreground end with the process that made them too, however that ends. */
const endingWithThis = ['setpriv', '--pdeathsig', 'KILL', '--'];
const freshRun = 'mount -t tmpfs tmpfs /run';
const enteredMark = 'MANYCAST_IN_USER_NAMESPACE';
const pollMs = 20;
const startMsMax = 5000;
const endMsMax = 1000;

/** Whether a lab can be built right here, or only in a user namespace. */
export function mayBuildHere(): boolean {
  return process.getuid?.() === 0 || hasEntered();
}

/** Whether this process runs in a user namespace made here. */
export function hasEntered(): boolean {
  return process.env[enteredMark] === '1';
}

/** Runs this program with `args` in fresh namespaces that end with it; resolves with its exit code. */
export async function runInUserNamespace(args: readonly string[]): Promise<number> {
  checkAllowed();
  const inside = ['sh', '-c', `${freshRun} && exec "$@"`, 'sh', ...thisProgram(args)];
  return outcomeOf(spawnAttached([...endingWithThis, ...unshare, ...inside]));
}

/** Makes namespaces that stay until `releaseNamespace`, for a lab that outlives the command that builds it. False when it has some. */
export async function holdNamespace(name: string): Promise<boolean> {
  checkAllowed();
  if (readHolder(name)) return false;
  mkdirSync(dirname(holderPath(name)), { recursive: true, mode: 0o700 });
  const log = `${holderPath(name)}.log`;
  const holder = spawnDetached(
    [...unshare, 'sh', '-c', `${freshRun} && echo held && exec sleep infinity`],
    log,
    process.env,
  );
  writeFileSync(holderPath(name), JSON.stringify(holder), { mode: 0o600 });
  for (let waited = 0; readFileSync(log, 'utf8') !== 'held\n'; waited += pollMs) {
    if (waited > startMsMax || !isAlive(holder)) {
      const said = readFileSync(log, 'utf8').trim();
      await releaseNamespace(name);
      throw new OperatingError('user-namespace', `no namespaces for the lab: ${said}`);
    }
    await delay(pollMs);
  }
  return true;
}

/** Runs this program with `args` inside the namespaces that are held for a lab; resolves with its exit code. */
export async function runInHeldNamespace(name: string, args: readonly string[]): Promise<number> {
  const holder = readHolder(name);
  if (!holder) throw new OperatingError('lab', `there is no lab "${name}"`, { remedy: 'manycast lab list' });
  const [first] = childrenOf(holder.pid);
  const enter = ['nsenter', '-t', String(first), '-U', '-n', '-m', '-p', '--preserve-credentials', '--'];
  return outcomeOf(spawnAttached([...enter, ...thisProgram(args)]));
}

/** Ends the namespaces held for a lab with all that runs in them, and forgets the lab. False when there was nothing. */
export async function releaseNamespace(name: string): Promise<boolean> {
  const known = labNames().includes(name);
  const holder = readHolder(name);
  if (holder) await endProcess(holder, endMsMax);
  removeLabDirectory(name);
  rmSync(holderPath(name), { force: true });
  rmSync(`${holderPath(name)}.log`, { force: true });
  return known || holder !== null;
}

export function isHeld(name: string): boolean {
  return readHolder(name) !== null;
}

function thisProgram(args: readonly string[]): string[] {
  return [process.execPath, process.argv[1] ?? '', ...args];
}

/** In a session of its own, so that a signal reaches the program inside exactly once, through `outcomeOf`. */
function spawnAttached([command = '', ...args]: readonly string[]): ChildProcess {
  const env = { ...process.env, [enteredMark]: '1', MANYCAST_LAB_HOME: labHome() };
  return spawn(command, args, { stdio: 'inherit', detached: true, env });
}

function outcomeOf(child: ChildProcess): Promise<number> {
  // To the program, not to the command that entered for it: that one would end first, and its exit code would be lost.
  const forward = (signal: NodeJS.Signals): void => {
    for (const pid of childrenOf(child.pid ?? 0)) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has just ended by itself.
      }
    }
  };
  return attendTo(child, forward, forward);
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function holderPath(name: string): string {
  return join(dirname(labHome()), 'namespaces', name);
}

function readHolder(name: string): ProcessRecord | null {
  try {
    const record = JSON.parse(readFileSync(holderPath(name), 'utf8')) as ProcessRecord;
    return isAlive(record) ? record : null;
  } catch {
    return null;
  }
}

function checkAllowed(): void {
  const refusal = namespaceRefusal();
  if (refusal) throw refusal;
}

/** Why this user has no user namespaces; null where there are some. */
export function namespaceRefusal(): OperatingError | null {
  try {
    execFileSync('unshare', ['-Urn', 'true'], { stdio: ['ignore', 'ignore', 'pipe'] });
    return null;
  } catch (cause) {
    return new OperatingError('user-namespace', 'this user may not make user namespaces, which a lab needs', {
      remedy: 'run it as root, or allow them: sudo sysctl kernel.unprivileged_userns_clone=1',
      cause,
    });
  }
}
