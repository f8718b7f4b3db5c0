import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RouterStatus } from '../../src/edge/status.ts';
import { askAgentOnce } from '../../src/platform/agent-client.ts';
import { command, labDirectory, on } from './lab-under-test.ts';

/** The built lab: what it starts are built programs. */
export async function labPrograms(): Promise<typeof import('../../src/lab/index.ts')> {
  const built = new URL('../../dist/lab/index.js', import.meta.url).href;
  return (await import(built)) as typeof import('../../src/lab/index.ts');
}

export function routerStatus(name: string, router: string): Promise<RouterStatus> {
  return askAgentOnce<RouterStatus>(join(labDirectory(name), router, 'router.sock'), 'GET', '/v1/router');
}

/** By `manycast router status --json`, as a person asks it on the router. */
export async function routerStatusAsTold(name: string, router: string): Promise<RouterStatus> {
  const socket = join(labDirectory(name), router, 'router.sock');
  const said = await on(name, router, process.execPath, command, 'router', 'status', '--socket', socket, '--json');
  return JSON.parse(said) as RouterStatus;
}

/** Counts from the next start of the router. */
export function changeRouterFile(name: string, router: string, change: (text: string) => string): void {
  const path = join(labDirectory(name), router, 'router.yaml');
  const before = readFileSync(path, 'utf8');
  const after = change(before);
  if (after === before) throw new Error(`${path} has nothing of what was to be changed:\n${before}`);
  writeFileSync(path, after, { mode: 0o600 });
}
