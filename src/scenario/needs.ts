import { closeSync, openSync } from 'node:fs';
import { messageOf } from '../base/operating-error.ts';
import { hasEntered } from '../lab/index.ts';

/** What not every machine gives. */
export const needs = ['root', 'tun'] as const;
export type Need = (typeof needs)[number];

const tunDevice = '/dev/net/tun';

/** Why this machine cannot give what is needed, one line; null when it gives all of it. */
export function missingNeed(wanted: readonly Need[]): string | null {
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
