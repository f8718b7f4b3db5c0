import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import { createSocketDataPlane, type SocketDataPlane } from '../dataplane/socket.ts';
import { nothingStays } from '../dataplane/staying.ts';
import { bootClock } from '../platform/boot-clock.ts';
import { monotonicClock } from '../platform/monotonic-clock.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import type { DatagramSocket } from './datagram-application.ts';
import type { TakenHost } from './host.ts';
import type { Segment } from './segment.ts';

/** How often applications are asked how they are. One that is silent is cut off, and its port then has nobody. */
const lookMs = 500;

/** A replica in group delivery, behind a router or on its clients' segment: sockets of applications take the datagrams, and nothing is done to the host. */
export interface GroupHost {
  readonly host: TakenHost;
  readonly segment: Segment;
  readonly flows: FlowTable;
  readonly plane: SocketDataPlane;
  /** By port. */
  readonly ports: Map<number, DatagramSocket>;
  /** One line about what ends the lease. */
  fence(): string;
}

export function groupHost(service: ServiceEntry): GroupHost {
  const plane = createSocketDataPlane(bootClock, service);
  return {
    host: {
      dataPlane: plane,
      setup: { prepare() {}, repair: () => [], undo() {} },
      adopted: { rows: new Map(), staying: nothingStays },
      release: () => plane.remove(),
    },
    // Whether a silent host is there need not be asked: it takes nothing once its lease is over.
    segment: { announce() {}, probe() {}, close: async () => {} },
    flows: { list: () => [], find: () => [], destroy: () => 0 },
    plane,
    ports: new Map(),
    fence: () => fenceOf(plane),
  };
}

/** Tells when it changes whether an application takes datagrams on every port of the service. Returns what ends it. */
export function watchSockets(
  { ports }: ServiceEntry,
  { plane, ports: sockets }: Pick<GroupHost, 'plane' | 'ports'>,
  onChange: (isServed: boolean, missing: readonly number[]) => void,
): () => void {
  let cancel = (): void => {};
  let stopped = false;
  let wasServed: boolean | null = null;
  async function look(): Promise<void> {
    await plane.counters().catch(() => null);
    if (stopped) return;
    const missing = ports.flatMap(({ port }) => (sockets.has(port) ? [] : [port]));
    if (wasServed !== (missing.length === 0)) onChange(missing.length === 0, missing);
    wasServed = missing.length === 0;
    cancel = monotonicClock.wakeAt(monotonicClock.now() + lookMs, () => void look());
  }
  void look();
  return () => {
    stopped = true;
    cancel();
  };
}

function fenceOf(plane: SocketDataPlane): string {
  const deciders = plane.deciders();
  const byApplication = deciders.filter((by) => by === 'application').length;
  const kernel =
    byApplication === 0
      ? 'socket filters in the kernel, which this agent takes away when the lease ends'
      : `${byApplication} of ${deciders.length} sockets are filtered by their applications, as the kernel does not take such a filter`;
  return `${kernel}; applications look at the clock, and take nothing after it`;
}
