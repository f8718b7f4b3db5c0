import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { OperatingError } from '../base/operating-error.ts';
import type { LabPlan } from './plan.ts';
import type { ProcessRecord } from './process-record.ts';

/** What a lab leaves on disk for the commands that come after the one that built it. */
export interface LabState {
  readonly plan: LabPlan;
  readonly agents: readonly ProcessRecord[];
  readonly servers: readonly ProcessRecord[];
}

/** Where the labs of this user are kept; a user namespace, where everybody is root, inherits it from outside. */
export function labHome(): string {
  return process.env.MANYCAST_LAB_HOME ?? join(tmpdir(), `manycast-${process.getuid?.() ?? 0}`, 'lab');
}

export function labDirectory(name: string): string {
  return join(labHome(), name);
}

/** False when there is a lab of that name already. */
export function createLabDirectory(name: string): boolean {
  mkdirSync(labHome(), { recursive: true, mode: 0o700 });
  checkOurs(labHome());
  try {
    mkdirSync(labDirectory(name), { mode: 0o700 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

export function labNames(): string[] {
  if (!existsSync(labHome())) return [];
  checkOurs(labHome());
  return readdirSync(labHome()).sort();
}

/** Temporary directories are open to all: what somebody else put there must not tell us which processes to end. */
function checkOurs(path: string): void {
  for (const each of [dirname(path), path]) {
    const stat = lstatSync(each);
    if (stat.isDirectory() && stat.uid === process.getuid?.() && (stat.mode & 0o077) === 0) continue;
    throw new OperatingError('lab', `${each} is not a directory of this user alone`, {
      remedy: 'have it removed, or name another in MANYCAST_LAB_HOME',
    });
  }
}

/** Null when the lab was never built as far as having a state. */
export function readLabState(name: string): LabState | null {
  if (!labNames().includes(name)) return null;
  try {
    return JSON.parse(readFileSync(join(labDirectory(name), 'lab.json'), 'utf8')) as LabState;
  } catch {
    return null;
  }
}

export function writeLabState(state: LabState): void {
  const path = join(labDirectory(state.plan.name), 'lab.json');
  writeFileSync(`${path}.new`, JSON.stringify(state, null, 2), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export function removeLabDirectory(name: string): void {
  rmSync(labDirectory(name), { recursive: true, force: true });
}
