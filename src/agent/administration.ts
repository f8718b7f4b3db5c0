import type { Control } from '../control/control.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { Partition } from '../space/partition.ts';
import type { AgentConfig } from './config.ts';
import { openControlSocket } from './control-socket.ts';
import type { Driver } from './driver.ts';
import type { EventLog } from './event-log.ts';
import type { HeldResets } from './held-resets.ts';
import { noLinks } from './link-status.ts';
import type { MemberChannel } from './member-channel.ts';
import type { PolicyFile } from './policy-file.ts';
import { agentRoutes } from './routes.ts';
import type { Sdk } from './sdk.ts';
import { type AgentStatus, kernelFence, statusOf } from './status.ts';

/** Parts that the local socket asks. */
export interface Asked {
  readonly partition: Partition;
  readonly dataPlane: DataPlane;
  readonly resets: HeldResets;
  readonly policyFile: PolicyFile;
  readonly control: Control;
  readonly eventLog: EventLog;
  readonly driver: Driver;
  readonly sdk: Sdk | null;
  readonly channel: MemberChannel;
  /** What ends the lease, where that is not the kernel. */
  readonly fence: (() => string) | undefined;
}

/** Opens the local socket. */
export function openAdministration(
  config: AgentConfig,
  version: string,
  asked: Asked,
): ReturnType<typeof openControlSocket> {
  const { partition, dataPlane, resets, policyFile, control, eventLog, driver, sdk, channel } = asked;
  const status = async (): Promise<AgentStatus> => {
    const view = control.view();
    const packets = await dataPlane.counters().catch(() => null);
    const file = policyFile.compare(view.policy);
    const parts = { config, version, partition, view, packets, policyFile: file };
    const watched = {
      links: sdk?.links() ?? noLinks,
      signatures: channel.signatures(),
      fence: asked.fence?.() ?? kernelFence,
    };
    return statusOf({ ...parts, refused: driver.refused(), resets, ...watched });
  };
  const routes = agentRoutes({
    ...{ partition, status },
    log: eventLog,
    view: () => control.view(),
    propose: driver.propose,
    found: driver.found,
  });
  return openControlSocket(config.socket, routes);
}
