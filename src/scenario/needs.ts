import { accessSync, closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../base/operating-error.ts';
import { hasEntered, programFolders } from '../lab/index.ts';

/** What not every machine gives. */
export const needs = ['root', 'tun'] as const;
export type Need = (typeof needs)[number];

const tunDevice = '/dev/net/tun';

/** Why this machine cannot give what is needed, one line; null when it gives all of it. */
export function missingNeed(wanted: readonly Need[], programs: readonly string[] = []): string | null {
  const folders = programFolders();
  const missing = programs.filter((name) => !folders.some((folder) => isProgram(join(folder, name))));
  if (missing.length > 0) return `it needs what is not installed: ${missing.join(', ')}`;
  if (wanted.includes('root') && (process.getuid?.() !== 0 || hasEntered())) return 'it needs root';
  return wanted.includes('tun') ? tunProblem() : null;
}

function tunProblem(): string | null {
  try {
    closeSync(openSync(tunDevice, 'r+'));
    return null;
  } catch (error) {
    return `it needs ${tunDevice}: ${messageOf(error)}`;
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
