import { sameSet } from '../base/same-set.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { type ForwardingTable, type Rows, type ServiceEntry, takesNew } from '../dataplane/forwarding-table.ts';
import type { Staying, UdpFlow } from '../dataplane/staying.ts';
import type { Clock } from '../ports/clock.ts';
import type { DriverEvent } from './driver.ts';

/** How long after a failed transaction it is tried again. */
const retryMs = 100;
/** How often the kernel's table is compared with what it should be, when nothing tells that somebody has changed it. */
const inspectMs = 1000;
/** A commit is no barrier for packets on their way: those that began under the old rows are through by then. */
const settlingMs = 5;

export interface KernelQueue {
  /** Later calls overtake earlier ones that have not begun. */
  program(revision: number, rows: Rows, staying: Staying): void;
  /** What the kernel has seen once what was asked for until now is done; null when it cannot be told. */
  seen(answer: (flows: readonly UdpFlow[] | null) => void): void;
  /** Starts and grants fences at once, not in the queue: heartbeats wait for them. A failure has the table inspected. */
  fence(use: (dataPlane: DataPlane) => void): void;
  /** Somebody may have changed the table. */
  inspect(): void;
  /** Resolves when what was asked for until now is done. */
  idle(): Promise<void>;
  stop(): void;
}

export interface KernelQueueParts {
  readonly dataPlane: DataPlane;
  readonly service: ServiceEntry;
  readonly clock: Clock;
  readonly onEvent: (event: DriverEvent) => void;
}

/** What the queue tells of the kernel. */
export interface KernelNews {
  /** Every new packet is judged by the rows of this revision, and those on their way are through. */
  programmed(revision: number): void;
  /** The table was gone or changed, and is back without fences. */
  rebuilt(): void;
}

/** One transaction at a time and only the newest table: what was overtaken while the kernel was busy is skipped. */
export function createKernelQueue(parts: KernelQueueParts, news: KernelNews): KernelQueue {
  const { dataPlane, service, clock, onEvent } = parts;
  let wanted: Wanted | null = null;
  let taken: ReadonlySet<number> | null = null;
  let running = Promise.resolve();
  let stopped = false;
  let cancelRetry = (): void => {};
  const inTurn = (work: () => Promise<void>): void => {
    running = running.then(work);
  };
  const inspection = startInspection(parts, news, inTurn);

  async function apply(): Promise<void> {
    if (!wanted || stopped) return;
    const { revision, table } = wanted;
    wanted = null;
    const begin = clock.now();
    try {
      if (await dataPlane.apply(table)) news.rebuilt();
    } catch (error) {
      onEvent({ kind: 'failure', doing: 'programming the kernel', error });
      wanted ??= { revision, table };
      cancelRetry = clock.wakeAt(clock.now() + retryMs, () => inTurn(apply));
      return;
    }
    const slots = new Set([...table.rows].flatMap(([slot, row]) => (takesNew(row) ? [slot] : [])));
    if (!taken || !sameSet(taken, slots)) onEvent({ kind: 'table', begin, end: clock.now(), slots });
    taken = slots;
    await new Promise<void>((resolve) => clock.wakeAt(clock.now() + settlingMs, resolve));
    if (!stopped) news.programmed(revision);
  }

  return {
    inspect: () => inspection.now(),
    fence(use): void {
      try {
        use(dataPlane);
      } catch (error) {
        onEvent({ kind: 'failure', doing: 'leasing the share', error });
        inspection.now();
      }
    },
    program(revision: number, rows: Rows, staying: Staying): void {
      wanted = { revision, table: { service, rows, staying } };
      cancelRetry();
      inTurn(apply);
    },
    seen: (answer) => inTurn(() => tellSeen(parts, (flows) => !stopped && answer(flows))),
    idle: () => running,
    stop(): void {
      stopped = true;
      inspection.stop();
      cancelRetry();
    },
  };
}

interface Wanted {
  readonly revision: number;
  readonly table: ForwardingTable;
}

async function tellSeen(
  { dataPlane, onEvent }: KernelQueueParts,
  answer: (flows: readonly UdpFlow[] | null) => void,
): Promise<void> {
  const flows = await dataPlane.seen().catch((error: unknown) => {
    onEvent({ kind: 'failure', doing: 'listing UDP flows', error });
    return null;
  });
  answer(flows);
}

/** Compares the kernel's table with what it should be, now and then and when asked to, in turn with other work. */
function startInspection(
  { dataPlane, clock, onEvent }: Omit<KernelQueueParts, 'service'>,
  { rebuilt }: KernelNews,
  inTurn: (work: () => Promise<void>) => void,
): { now(): void; stop(): void } {
  let stopped = false;
  let waiting = false;
  let closely = false;
  let cancel = clock.wakeAt(clock.now() + inspectMs, glance);

  async function inspect(): Promise<void> {
    waiting = false;
    if (stopped) return;
    const howClosely = closely;
    closely = false;
    try {
      if (await dataPlane.repair(howClosely)) {
        onEvent({ kind: 'repaired' });
        rebuilt();
      }
    } catch (error) {
      onEvent({ kind: 'failure', doing: 'inspecting the kernel', error });
    }
    cancel();
    if (!stopped) cancel = clock.wakeAt(clock.now() + inspectMs, glance);
  }

  function glance(): void {
    cancel();
    if (waiting || stopped) return;
    waiting = true;
    inTurn(inspect);
  }

  /** Somebody has been there. */
  function now(): void {
    closely = true;
    glance();
  }

  return {
    now,
    stop(): void {
      stopped = true;
      cancel();
    },
  };
}
