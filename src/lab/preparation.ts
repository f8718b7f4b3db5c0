import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { OperatingError } from '../base/operating-error.ts';
import { sharedDirectory } from './environment.ts';
import type { LabPlan } from './plan.ts';
import { spawnOn } from './spawn-on.ts';

const msMax = 60_000;

/** Runs commands for `sh -c`, one after the other, in the directory that all nodes of a lab share. Throws an OperatingError when one fails or takes a minute. */
export async function prepare(plan: LabPlan, commands: readonly string[], signal?: AbortSignal): Promise<void> {
  const cwd = sharedDirectory(plan.name);
  mkdirSync(cwd, { mode: 0o700 });
  for (const command of commands) {
    // At the switch: it has nothing else to do, and ends with the lab.
    const child = spawnOn(plan, 'sw', ['sh', '-c', command], {
      ...{ cwd, stdio: ['ignore', 'ignore', 'inherit'], timeout: msMax },
      ...(signal ? { signal } : {}),
    });
    const [code] = await once(child, 'exit').catch(() => [null]);
    if (code === 0 || signal?.aborted) continue;
    const how = code === null ? `did not end within ${msMax / 1000} s` : `ended with exit code ${code}`;
    throw new OperatingError('lab', `what prepares the lab ${how}: ${command.trim().split('\n')[0]}`);
  }
}
