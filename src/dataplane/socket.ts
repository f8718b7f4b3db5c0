import { OperatingError } from '../base/operating-error.ts';
import { flowKey } from '../base/tcp-flow.ts';
import { coverSlots } from '../space/cover.ts';
import { type Partition, slotOf } from '../space/partition.ts';
import type { DataPlane, Fence, FlowCounters } from './data-plane.ts';
import type { FlowChange } from './diversions.ts';
import type { ForwardingTable, ServiceEntry } from './forwarding-table.ts';
import {
  dropAll,
  type Instruction,
  type ListedShare,
  type SocketShare,
  socketFilter,
  takeAll,
} from './socket-filter.ts';
import { nothingStays, type UdpFlow } from './staying.ts';

/**
 * Who decides whose a datagram is that came to a socket. `kernel`: a filter on the socket, exactly; `application`: whoever reads it, where the kernel
 * has no such filters or the share does not fit one.
 */
export type Decider = 'kernel' | 'application';

/** What the application that reads a socket is told of its share; no filters and no foreign flows where the kernel decides. */
export interface ShareWord extends ListedShare {
  readonly by: Decider;
  /** It remembers the flows that it took for this long, milliseconds; 0: none. */
  readonly idleMs: number;
}

/** One socket of an application of this host, which gets datagrams of the service. */
export interface ShareSocket {
  /** The one it is bound to. */
  readonly port: number;
  /** The kernel queues from now on what the program takes. False, and nothing has changed, when it refuses. */
  attach(program: readonly Instruction[]): boolean;
  /** What waits to be read is gone. */
  drain(): void;
  /** True when the application does as it was told with whatever it reads from now on; false when it is silent or gone: it is parted then. */
  tell(word: ShareWord): Promise<boolean>;
  /** It takes nothing that it reads at `until`, or later, by the clock of this data plane. It may be told anew before. */
  lease(until: number): void;
  /** Flows of which it took a datagram of late. Rejects when it is silent. */
  seen(): Promise<readonly UdpFlow[]>;
  counts(): Promise<{ readonly taken: number; readonly dropped: number }>;
}

/** The data plane of `group` delivery, which needs no privilege: no table in the kernel, but a filter on each socket, and a lease that its reader heeds. */
export interface SocketDataPlane extends DataPlane {
  /** From now on the socket takes its share; until then it must have taken nothing. */
  join(socket: ShareSocket): void;
  /** It takes nothing more; the caller may close it. */
  part(socket: ShareSocket): void;
  deciders(): readonly Decider[];
  /** Flows that stay here, by the table. */
  kept(): Iterable<UdpFlow>;
}

/** Monotonic milliseconds that agent and applications of a machine have in common, and that go on while it sleeps. */
export interface LeaseClock {
  now(): number;
  wakeAt(at: number, callback: () => void): () => void;
}

interface Joined {
  by: Decider;
  /** While there is a lease. */
  program: readonly Instruction[];
  /** As it was told last; nothing before. */
  share: SocketShare;
  settling: Promise<void>;
}

export function createSocketDataPlane(clock: LeaseClock, service: ServiceEntry): SocketDataPlane {
  const sockets = new LeasedSockets(clock, service);
  const armed = new Map<number, number>();
  return {
    arm(_fence: Fence, mark: number, ms: number): void {
      for (const [other, end] of armed) if (end <= clock.now()) armed.delete(other);
      if (!armed.has(mark)) armed.set(mark, clock.now() + ms);
    },
    grant(fence: Fence, mark: number | null): void {
      // A socket of UDP has no connections, to be held when the lease is over.
      if (fence === 'lease') sockets.lease((mark === null ? undefined : armed.get(mark)) ?? 0);
    },
    apply: (table) => sockets.apply(table),
    async divert(changes: readonly FlowChange[]): Promise<void> {
      if (changes.length > 0) throw new OperatingError('diversions', 'a socket filter diverts no connections');
    },
    adopt: async () => null,
    seen: async () => (await Promise.all(sockets.all().map((each) => each.seen()))).flat(),
    repair: async () => false,
    counters: () => countersOf(sockets.all()),
    async remove(): Promise<void> {
      armed.clear();
      sockets.forget();
    },
    join: (socket) => sockets.join(socket),
    part: (socket) => sockets.part(socket),
    deciders: () => sockets.deciders(),
    kept: () => sockets.kept(),
  };
}

/**
 * A kernel cannot end a socket's filter by itself. So a lease has two guards: this process takes the filters away when it is over, whatever the applications do
 * (stopped ones included, for the filter is the socket's); and who reads a socket looks at the clock after each datagram, whatever this process does. A datagram that came
 * while there was no lease is never taken: what may have come meanwhile is thrown away before there is one again.
 */
class LeasedSockets {
  readonly #clock: LeaseClock;
  readonly #service: ServiceEntry;
  readonly #sockets = new Map<ShareSocket, Joined>();
  #table: ForwardingTable | null = null;
  #until = 0;
  /** Until then a socket that is parted and could not be shut may take datagrams. */
  #strayUntil = 0;
  #cancel = (): void => {};

  constructor(clock: LeaseClock, service: ServiceEntry) {
    this.#clock = clock;
    this.#service = service;
  }

  all(): readonly ShareSocket[] {
    return [...this.#sockets.keys()];
  }

  deciders(): readonly Decider[] {
    return [...this.#sockets.values()].map(({ by }) => by);
  }

  kept(): Iterable<UdpFlow> {
    return (this.#table?.staying ?? nothingStays).kept.values();
  }

  join(socket: ShareSocket): void {
    const share = shareOf(null, this.#service.partition, socket.port);
    const joined: Joined = { by: 'kernel', program: dropAll, share, settling: Promise.resolve() };
    this.#sockets.set(socket, joined);
    socket.attach(dropAll);
    socket.drain();
    joined.settling = this.#settle(socket, joined).then(() => socket.lease(this.#until));
  }

  part(socket: ShareSocket): void {
    if (!this.#sockets.delete(socket) || socket.attach(dropAll)) return;
    this.#strayUntil = Math.max(this.#strayUntil, this.#until);
  }

  async apply(table: ForwardingTable): Promise<boolean> {
    const isNew = this.#table === null;
    this.#table = table;
    for (const [socket, joined] of this.#sockets)
      joined.settling = joined.settling.then(() => this.#settle(socket, joined));
    await Promise.all([...this.#sockets.values()].map(({ settling }) => settling));
    if (this.#strayUntil > this.#clock.now())
      await new Promise<void>((resolve) => this.#clock.wakeAt(this.#strayUntil, resolve));
    return isNew;
  }

  /** 0: no more. */
  lease(until: number): void {
    const lapsed = !this.#isOpen();
    this.#until = until;
    this.#cancel();
    this.#cancel = this.#isOpen() ? this.#clock.wakeAt(until, () => this.#shut()) : () => {};
    if (lapsed || !this.#isOpen()) this.#shut();
    for (const [socket, joined] of this.#sockets) {
      if (lapsed && this.#isOpen()) {
        socket.drain();
        this.#open(socket, joined);
      }
      socket.lease(until);
    }
  }

  forget(): void {
    this.#table = null;
    this.lease(0);
  }

  #isOpen(): boolean {
    return this.#until > this.#clock.now();
  }

  #shut(): void {
    for (const socket of this.#sockets.keys()) socket.attach(dropAll);
  }

  #open(socket: ShareSocket, joined: Joined): void {
    if (!this.#isOpen() || socket.attach(joined.program) || joined.by === 'application') return;
    // It fits a program, and not what the kernel grants a socket.
    joined.settling = joined.settling.then(() => this.#settle(socket, joined, 'application'));
  }

  async #settle(socket: ShareSocket, joined: Joined, by: Decider = 'kernel'): Promise<void> {
    if (!this.#sockets.has(socket)) return;
    const { partition, udpIdleMs: idleMs = 0 } = this.#service;
    const share = shareOf(this.#table, partition, socket.port);
    const program = by === 'kernel' ? socketFilter(share) : null;
    const before = joined.share;
    joined.share = share;
    if (program?.ok && socket.attach(this.#isOpen() ? program.value : dropAll)) {
      // What waits there the application was to look at: it may be others'.
      if (joined.by === 'application') socket.drain();
      joined.by = 'kernel';
      joined.program = program.value;
      void socket.tell({ by: 'kernel', filters: [], kept: share.kept, foreign: [], idleMs });
      return;
    }
    // Nobody has decided as the application will, until it does.
    if (joined.by === 'kernel') socket.attach(dropAll);
    // Of what waits there others have taken what was theirs until now.
    else if (takesMore(share, before)) socket.drain();
    joined.by = 'application';
    joined.program = takeAll;
    const { kept, foreign, slots } = share;
    const word = { filters: coverSlots(partition, slots), kept, foreign, idleMs };
    if (await socket.tell({ by: 'application', ...word })) this.#open(socket, joined);
  }
}

/** Rows that take new flows, but for what is known to be others', or not known yet; and what stays here whatever the row, if there is one. */
function shareOf(table: ForwardingTable | null, partition: Partition, port: number): SocketShare {
  const { kept, foreign, shut } = table?.staying ?? nothingStays;
  const owned = [...(table?.rows ?? [])].filter(([, { kind }]) => kind === 'own' || kind === 'new');
  const ofPort = (flows: Iterable<UdpFlow>): UdpFlow[] => [...flows].filter(({ servicePort }) => servicePort === port);
  return {
    partition,
    slots: new Set(owned.flatMap(([slot]) => (shut.has(slot) ? [] : [slot]))),
    kept: ofPort(kept.values()).filter(({ client }) => table?.rows.has(slotOf(partition, client))),
    foreign: ofPort(foreign.values()),
  };
}

function takesMore(share: SocketShare, before: SocketShare): boolean {
  const foreign = new Set(share.foreign.map(flowKey));
  const isMore = [...share.slots].some((slot) => !before.slots.has(slot));
  return isMore || before.foreign.some((flow) => !foreign.has(flowKey(flow)));
}

async function countersOf(sockets: readonly ShareSocket[]): Promise<FlowCounters> {
  const counts = await Promise.all(sockets.map((each) => each.counts()));
  const accepted = counts.reduce((sum, { taken }) => sum + taken, 0);
  const dropped = counts.reduce((sum, each) => sum + each.dropped, 0);
  return { accepted, dropped, relayed: 0, resetsWithheld: 0, resetsAsked: 0, held: 0 };
}
