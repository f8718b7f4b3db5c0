import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../base/operating-error.ts';

const pollMs = 5;
const msMax = 10_000;

/** Resolves when clients have seen so many connections go on at another replica. Throws an OperatingError when they do not within ten seconds. */
export async function untilMoved(wanted: number, seen: () => number, signal: AbortSignal): Promise<void> {
  for (let waited = 0; seen() < wanted; waited += pollMs) {
    if (waited >= msMax) {
      throw new OperatingError('scenario', `${seen()} connections moved in ${msMax / 1000} s, not ${wanted}`);
    }
    await delay(pollMs, undefined, { signal });
  }
}
