import { readAgentConfig } from '../agent/config.ts';
import { startAgent } from '../agent/daemon.ts';
import { raiseOtherThreads } from '../platform/other-threads.ts';
import { raisePriority } from '../platform/process-priority.ts';
import { runDaemon } from './daemon.ts';
import { version } from './version.ts';

interface AgentOptions {
  readonly config: string;
  readonly logLevel: string;
}

/**
 * Runs until SIGTERM or SIGINT, then leaves in order; a second signal ends it at once. SIGHUP ends it without leaving: the kernel goes on with the connections it
 * has, and an agent that is started again, of a newer version perhaps, takes it over.
 */
export async function runAgent(
  { config: path, logLevel: level }: AgentOptions,
  role: { readonly witness: boolean } = { witness: false },
): Promise<void> {
  const config = readAgentConfig(path);
  await runDaemon(config.node, level, 'the agent ends; its kernel goes on until the next start', (log) => {
    log.info(`scheduling priority: ${raisePriority()}`);
    raiseOtherThreads();
    return startAgent(config, version, log, role);
  });
}
