import pino from 'pino';

/** What a start that failed has left open keeps the process no longer than this. */
const failedMs = 1000;

/** What runs until it is signalled. */
interface Daemon {
  /** Leaves in order. */
  stop(): Promise<void>;
  /** Ends at once and leaves the kernel as it is. */
  detach(): Promise<void>;
}

/** Runs a daemon until SIGTERM or SIGINT stops it, or SIGHUP detaches it; a second signal ends it at once, as does a fault, of which `onFault` is the line in the log. */
export async function runDaemon(
  node: string,
  level: string,
  onFault: string,
  start: (log: pino.Logger) => Promise<Daemon>,
): Promise<void> {
  const log = pino({ base: { node }, level }, pino.destination({ sync: true }));
  process.once('uncaughtException', (error) => {
    log.fatal({ err: error }, onFault);
    process.exit(1);
  });
  const daemon = await start(log).catch((error: unknown) => {
    setTimeout(() => process.exit(1), failedMs).unref();
    throw error;
  });
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    for (const each of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(each, resolve);
  });
  for (const each of ['SIGTERM', 'SIGINT'] as const) process.once(each, () => process.exit(1));
  log.info(`${signal} received`);
  if (signal === 'SIGHUP') await daemon.detach();
  else await daemon.stop();
}
