import type { Logger } from 'pino';
import { messageOf } from '../base/operating-error.ts';
import type { ControlView } from '../control/io.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import type { Clock } from '../ports/clock.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import { type AgentConfig, readCertificates } from './config.ts';
import { openSdkEndpoint, type SdkEndpoint } from './sdk-endpoint.ts';
import { type Moved, openTransfers, type Transfers } from './transfers.ts';

/** What the daemon has that applications and their connections concern. */
export interface SdkParts {
  readonly service: ServiceEntry;
  readonly dataPlane: DataPlane;
  readonly flows: FlowTable;
  readonly clock: Clock;
  readonly view: () => ControlView;
}

/** Hears applications with the SDK, and moves their connections where the configuration and the host allow it. Returns what ends it; null without `sdk`. */
export async function openSdk(
  config: AgentConfig,
  parts: SdkParts,
  log: Logger,
): Promise<(() => Promise<void>) | null> {
  if (!config.sdk) return null;
  const endpoint = await openSdkEndpoint(config.sdk.socket, {
    node: config.node,
    onComplaint: (reason) => log.warn(reason),
  });
  const transfers = await openTransfersOf(config, parts, endpoint, log).catch(async (error: unknown) => {
    await endpoint.close();
    throw error;
  });
  return async () => {
    await transfers?.close();
    await endpoint.close();
  };
}

/** Null, and a line in the log, where connections cannot be moved: they are forwarded then. */
async function openTransfersOf(
  config: AgentConfig,
  parts: SdkParts,
  endpoint: SdkEndpoint,
  log: Logger,
): Promise<Transfers | null> {
  const tls = readCertificates(config);
  if (!tls) {
    log.info('connections are not moved to other replicas: agent.yaml names no certificates');
    return null;
  }
  const { cluster, node, control } = config;
  const onMoved = (moved: Moved): void => logMoved(log, moved);
  try {
    return await openTransfers({ ...parts, cluster, node, tls, ...control, endpoint, onMoved });
  } catch (error) {
    log.error(`connections are not moved to other replicas, only forwarded: ${messageOf(error)}`);
    return null;
  }
}

function logMoved(log: Logger, { peer, connections, ms, stay }: Moved): void {
  if (connections > 0) log.info({ peer, connections, ms }, `${connections} connections moved to ${peer}`);
  for (const [reason, count] of stay) log.debug({ peer, count }, `${count} connections stay: ${reason}`);
}
