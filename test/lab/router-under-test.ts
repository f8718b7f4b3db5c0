import { join } from 'node:path';
import type { RouterStatus } from '../../src/edge/status.ts';
import { askAgentOnce } from '../../src/platform/agent-client.ts';
import { labDirectory } from './lab-under-test.ts';

/** The built lab: what it starts are built programs. */
export async function labPrograms(): Promise<typeof import('../../src/lab/index.ts')> {
  const built = new URL('../../dist/lab/index.js', import.meta.url).href;
  return (await import(built)) as typeof import('../../src/lab/index.ts');
}

export function routerStatus(name: string, router: string): Promise<RouterStatus> {
  return askAgentOnce<RouterStatus>(join(labDirectory(name), router, 'router.sock'), 'GET', '/v1/router');
}
