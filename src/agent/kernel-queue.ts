import type { DataPlane } from '../dataplane/data-plane.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import type { Clock } from '../ports/clock.ts';
import type { DriverEvent } from './driver.ts';

/** How long after a failed transaction it is tried again. */
const retryMs = 100;
/** How often the kernel's table is compared with what it should be. */
const inspectMs = 1000;

export interface KernelQueue {
  /** Later calls overtake earlier ones that have not begun. */
  program(revision: number, slots: ReadonlySet<number>): void;
  /** Starts and grants leases at once, not in the queue: heartbeats wait for them. A failure has the table inspected. */
  lease(use: (dataPlane: DataPlane) => void): void;
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

/** One transaction at a time and only the newest table: what was overtaken while the kernel was busy is skipped. */
export function createKernelQueue(
  { dataPlane, service, clock, onEvent }: KernelQueueParts,
  programmed: (revision: number) => void,
): KernelQueue {
  let wanted: { revision: number; slots: ReadonlySet<number> } | null = null;
  let running = Promise.resolve();
  let stopped = false;
  let cancelRetry = (): void => {};
  const inspection = startInspection({ dataPlane, clock, onEvent }, (work) => {
    running = running.then(work);
  });

  async function apply(): Promise<void> {
    if (!wanted || stopped) return;
    const { revision, slots } = wanted;
    wanted = null;
    const begin = clock.now();
    try {
      await dataPlane.apply({ service, rows: new Map([...slots].map((slot) => [slot, 'own'])) });
    } catch (error) {
      onEvent({ kind: 'failure', doing: 'programming the kernel', error });
      wanted ??= { revision, slots };
      cancelRetry = clock.wakeAt(clock.now() + retryMs, enqueue);
      return;
    }
    onEvent({ kind: 'table', begin, end: clock.now(), slots });
    programmed(revision);
  }

  function enqueue(): void {
    running = running.then(apply);
  }

  return {
    lease(use: (dataPlane: DataPlane) => void): void {
      try {
        use(dataPlane);
      } catch (error) {
        onEvent({ kind: 'failure', doing: 'leasing the share', error });
        inspection.now();
      }
    },
    program(revision: number, slots: ReadonlySet<number>): void {
      wanted = { revision, slots };
      cancelRetry();
      enqueue();
    },
    idle: () => running,
    stop(): void {
      stopped = true;
      inspection.stop();
      cancelRetry();
    },
  };
}

/** Compares the kernel's table with what it should be, now and then and when asked to, in turn with other work. */
function startInspection(
  { dataPlane, clock, onEvent }: Omit<KernelQueueParts, 'service'>,
  inTurn: (work: () => Promise<void>) => void,
): { now(): void; stop(): void } {
  let stopped = false;
  let cancel = clock.wakeAt(clock.now() + inspectMs, now);

  function now(): void {
    cancel();
    inTurn(async () => {
      if (stopped) return;
      try {
        if (await dataPlane.repair()) onEvent({ kind: 'repaired' });
      } catch (error) {
        onEvent({ kind: 'failure', doing: 'inspecting the kernel', error });
      }
      cancel();
      if (!stopped) cancel = clock.wakeAt(clock.now() + inspectMs, now);
    });
  }

  return {
    now,
    stop(): void {
      stopped = true;
      cancel();
    },
  };
}
