import { readRouterConfig } from '../edge/config.ts';
import { startRouter } from '../edge/daemon.ts';
import { runDaemon } from './daemon.ts';
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
  await runDaemon(config.node, level, 'the router ends; its kernel goes on until the next start', (log) =>
    startRouter(config, version, log),
  );
}
