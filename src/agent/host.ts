import type { Logger } from 'pino';
import type { IpAddress } from '../base/address.ts';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { Adopted, DataPlane } from '../dataplane/data-plane.ts';
import { holdDeviceOf, type ServiceEntry } from '../dataplane/forwarding-table.ts';
import { createNftDataPlane } from '../dataplane/nft.ts';
import { removeTransaction } from '../dataplane/nft-ruleset.ts';
import { nothingStays } from '../dataplane/staying.ts';
import { openNftables } from '../platform/libnftables.ts';
import { createLinuxHost } from '../platform/linux-host.ts';
import { monotonicClock } from '../platform/monotonic-clock.ts';
import { openKernelEvents } from '../platform/netlink-events.ts';
import { openElementChanges } from '../platform/nft-element-changes.ts';
import { readSetElements } from '../platform/nft-set-elements.ts';
import { interfaceIndex } from '../platform/packet-socket.ts';
import type { HostSetup } from '../ports/host-setup.ts';
import type { StateStore } from '../ports/state-store.ts';

/** The host as the agent has set it up. */
export interface TakenHost {
  readonly dataPlane: DataPlane;
  readonly setup: HostSetup;
  /** What the kernel has from an earlier agent; empty when there was none. */
  readonly adopted: Adopted;
  /** Puts the host back as it was before any agent. */
  release(): Promise<void>;
}

/**
 * Goes on from what an earlier agent left in the kernel, when that was for the same service. Otherwise undoes it, then sets the host up: a table that takes nothing
 * before the address that needs it.
 */
export async function takeHost(service: ServiceEntry, group: IpAddress | null, store: StateStore): Promise<TakenHost> {
  const dataPlane = createNftDataPlane(
    { run: openNftables(), readSet: readSetElements, changeElements: openElementChanges(), deviceIndex },
    service,
  );
  const setup = createLinuxHost(store);
  const release = async (): Promise<void> => {
    setup.undo();
    await dataPlane.remove();
    store.remove(tableRecord);
  };
  const adopted = await dataPlane.adopt();
  if (!adopted) undoFormer(store);
  store.write(tableRecord, new TextEncoder().encode(service.name));
  try {
    if (!adopted) await dataPlane.apply({ service, rows: new Map() });
    const routed = service.delivery === 'router' ? { unmarkedFrom: [holdDeviceOf(service)] } : {};
    setup.prepare({ device: service.device, serviceAddress: service.address, group, ...routed });
  } catch (error) {
    if (!adopted) await release();
    throw error;
  }
  return { dataPlane, setup, adopted: adopted ?? { rows: new Map(), staying: nothingStays }, release };
}

/** For which service an agent has made a table: nothing else tells it from those of other agents of this host, once the service has another name. */
const tableRecord = 'table';

/** Undoes what an earlier agent with this state did to the host and left, whatever its service was; harmless when there is nothing. */
export function undoFormer(store: StateStore): void {
  createLinuxHost(store).undo();
  const name = store.read(tableRecord);
  if (!name) return;
  openNftables()(removeTransaction({ name: new TextDecoder().decode(name) }));
  store.remove(tableRecord);
}

function deviceIndex(device: string): number | null {
  try {
    return interfaceIndex(device);
  } catch (error) {
    if (error instanceof OperatingError) return null;
    throw error;
  }
}

/** How often the host is looked at without being told: nothing tells of sysctls and group memberships. */
const lookMs = 1000;

/** Puts back what other programs undo of the host, and has the kernel's table inspected when they touch any. Returns what ends it. */
export function watchHost(
  setup: HostSetup,
  log: Logger,
  { inspect, announce }: { inspect: () => void; announce: () => void },
): () => Promise<void> {
  function look(): void {
    try {
      const put = setup.repair();
      if (put.length === 0) return;
      log.warn(`somebody else removed what the service needs of this host; put back: ${put.join(', ')}`);
      announce();
    } catch (error) {
      log.error({ err: error }, `putting the host back failed: ${messageOf(error)}`);
    }
  }

  let cancel = (): void => {};
  function lookAgain(): void {
    look();
    cancel = monotonicClock.wakeAt(monotonicClock.now() + lookMs, lookAgain);
  }
  const events = openKernelEvents({
    onRuleset: (by) => {
      log.debug({ by }, 'another program changed the nftables rule set');
      inspect();
    },
    onAddresses: look,
    onFailure: (error) => log.error({ err: error }, `the kernel's events are not read any more: ${messageOf(error)}`),
  });
  lookAgain();
  return () => {
    cancel();
    return events.close();
  };
}
