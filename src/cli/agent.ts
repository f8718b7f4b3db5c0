import pino from 'pino';
import { readAgentConfig } from '../agent/config.ts';
import { startAgent } from '../agent/daemon.ts';
import { raiseOtherThreads } from '../platform/other-threads.ts';
import { raisePriority } from '../platform/process-priority.ts';
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
  const log = pino({ base: { node: config.node }, level }, pino.destination({ sync: true }));
  process.once('uncaughtException', (error) => {
    log.fatal({ err: error }, 'the agent ends; its kernel goes on until the next start');
    process.exit(1);
  });
  log.info(`scheduling priority: ${raisePriority()}`);
  raiseOtherThreads();
  const agent = await startAgent(config, version, log, role);
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    for (const each of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(each, resolve);
  });
  for (const each of ['SIGTERM', 'SIGINT'] as const) process.once(each, () => process.exit(1));
  log.info(`${signal} received`);
  if (signal === 'SIGHUP') await agent.detach();
  else await agent.stop();
}
