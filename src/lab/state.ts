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
  /** The daemons of the routers. */
  readonly routers: readonly ProcessRecord[];
  /** What the switch does wrong now. */
  readonly switchFaults: SwitchFaults;
}

/** What a switch does wrong. */
export interface SwitchFaults {
  /** Pairs of nodes; no frame gets from the first to the second. */
  readonly blocks: readonly (readonly [from: string, to: string])[];
  /** Datagrams of the control channel that are lost, in percent, for each receiver of a multicast by itself; not those from and to `spared`. */
  readonly loss: { readonly percent: number; readonly spared: readonly string[] };
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

/** As `readLabState`, of a lab that must be there. */
export function stateOfLab(name: string): LabState {
  const state = readLabState(name);
  if (!state) throw new OperatingError('lab', `there is no lab "${name}"`, { remedy: 'manycast lab list' });
  return state;
}

export function writeLabState(state: LabState): void {
  const path = join(labDirectory(state.plan.name), 'lab.json');
  writeFileSync(`${path}.new`, JSON.stringify(state, null, 2), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export function removeLabDirectory(name: string): void {
  rmSync(labDirectory(name), { recursive: true, force: true });
}
