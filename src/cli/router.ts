import pino from 'pino';
import { readRouterConfig } from '../edge/config.ts';
import { startRouter } from '../edge/daemon.ts';
import { formatRouterStatus, type RouterStatus } from '../edge/status.ts';
import { askAgentOnce } from '../platform/agent-client.ts';
import { version } from './version.ts';

/** Runs until SIGTERM or SIGINT, then takes the services off this router; SIGHUP ends it and leaves the kernel as it is, for the next start. */
export async function runRouter({
  config: path,
  logLevel: level,
}: {
  config: string;
  logLevel: string;
}): Promise<void> {
  const config = readRouterConfig(path);
  const log = pino({ base: { node: config.node }, level }, pino.destination({ sync: true }));
  process.once('uncaughtException', (error) => {
    log.fatal({ err: error }, 'the router ends; its kernel goes on until the next start');
    process.exit(1);
  });
  const router = await startRouter(config, version, log);
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    for (const each of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(each, resolve);
  });
  for (const each of ['SIGTERM', 'SIGINT'] as const) process.once(each, () => process.exit(1));
  log.info(`${signal} received`);
  if (signal === 'SIGHUP') await router.detach();
  else await router.stop();
}

export async function showRouter({ socket, json }: { socket: string; json?: boolean }): Promise<void> {
  const status = await askAgentOnce<RouterStatus>(socket, 'GET', '/v1/router');
  process.stdout.write(json ? `${JSON.stringify(status, null, 2)}\n` : formatRouterStatus(status));
}
