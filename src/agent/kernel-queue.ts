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
  let cancelInspection = clock.wakeAt(clock.now() + inspectMs, inspect);
  let cancelRetry = (): void => {};

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

  function inspect(): void {
    running = running.then(async () => {
      if (stopped) return;
      try {
        if (await dataPlane.repair()) onEvent({ kind: 'repaired' });
      } catch (error) {
        onEvent({ kind: 'failure', doing: 'inspecting the kernel', error });
      }
      if (!stopped) cancelInspection = clock.wakeAt(clock.now() + inspectMs, inspect);
    });
  }

  return {
    lease(use: (dataPlane: DataPlane) => void): void {
      try {
        use(dataPlane);
      } catch (error) {
        onEvent({ kind: 'failure', doing: 'leasing the share', error });
        cancelInspection();
        inspect();
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
      cancelInspection();
      cancelRetry();
    },
  };
}
