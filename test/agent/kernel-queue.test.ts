import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { DriverEvent } from '../../src/agent/driver.ts';
import { createKernelQueue, type KernelQueue } from '../../src/agent/kernel-queue.ts';
import type { DataPlane } from '../../src/dataplane/data-plane.ts';
import { createFakeDataPlane } from '../../src/dataplane/fake.ts';
import { ownRow, type Rows } from '../../src/dataplane/forwarding-table.ts';
import { nothingStays } from '../../src/dataplane/staying.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { serviceWith } from '../contract/data-plane-contract.ts';

/** Time that passes when told. */
function handClock(): Clock & { pass(ms: number): void } {
  let now = 0;
  let waiting: { at: number; callback: () => void }[] = [];
  return {
    now: () => now,
    wakeAt(at, callback) {
      const entry = { at, callback };
      waiting.push(entry);
      return () => {
        waiting = waiting.filter((each) => each !== entry);
      };
    },
    pass(ms) {
      now += ms;
      const due = waiting.filter(({ at }) => at <= now);
      waiting = waiting.filter(({ at }) => at > now);
      for (const { callback } of due) callback();
    },
  };
}

function queue(overrides: Partial<DataPlane> = {}): {
  kernel: ReturnType<typeof createKernelQueue>;
  clock: ReturnType<typeof handClock>;
  applied: number[][];
  programmed: number[];
  events: DriverEvent['kind'][];
  rebuilt: number[];
} {
  const applied: number[][] = [];
  const programmed: number[] = [];
  const events: DriverEvent['kind'][] = [];
  const rebuilt: number[] = [];
  const clock = handClock();
  const dataPlane: DataPlane = {
    ...createFakeDataPlane(clock.now),
    async apply({ rows }) {
      applied.push([...rows.keys()]);
      return false;
    },
    ...overrides,
  };
  const parts = {
    dataPlane,
    service: serviceWith('0.0.0.255'),
    clock,
    onEvent: (event: DriverEvent) => void events.push(event.kind),
  };
  return {
    kernel: createKernelQueue(parts, {
      programmed: (revision) => void programmed.push(revision),
      rebuilt: () => void rebuilt.push(clock.now()),
    }),
    rebuilt,
    clock,
    applied,
    programmed,
    events,
  };
}

/** Until what was asked for is done; time passes for packets that are on their way. */
async function idle(kernel: KernelQueue, clock: ReturnType<typeof handClock>): Promise<void> {
  let done = false;
  void kernel.idle().then(() => {
    done = true;
  });
  for (await nextTurn(); !done; await nextTurn()) clock.pass(5);
}

function rowsOf(...slots: readonly number[]): Rows {
  return new Map(slots.map((slot) => [slot, ownRow]));
}

describe('the queue to the kernel', () => {
  test('says what is programmed once the kernel confirms and packets on their way are through', async () => {
    const { kernel, clock, applied, programmed, events } = queue();
    kernel.program(1, rowsOf(4, 5), nothingStays);
    await nextTurn();
    clock.pass(4);
    await nextTurn();
    expect([applied, programmed]).toEqual([[[4, 5]], []]);
    await idle(kernel, clock);
    expect([applied, programmed, events]).toEqual([[[4, 5]], [1], ['table']]);
  });

  test('skips tables that were overtaken while the kernel was busy', async () => {
    const { kernel, clock, applied, programmed } = queue();
    for (const revision of [1, 2, 3]) kernel.program(revision, rowsOf(revision), nothingStays);
    await idle(kernel, clock);
    expect([applied, programmed]).toEqual([[[3]], [3]]);
  });

  test('tries a failed transaction again, and confirms nothing before', async () => {
    let failures = 1;
    const applied: number[][] = [];
    const { kernel, clock, programmed, events } = queue({
      apply: async ({ rows }) => {
        if (failures-- > 0) throw new Error('busy');
        applied.push([...rows.keys()]);
        return false;
      },
    });
    kernel.program(1, rowsOf(7), nothingStays);
    await idle(kernel, clock);
    expect([applied, programmed, events]).toEqual([[], [], ['failure']]);
    clock.pass(100);
    await idle(kernel, clock);
    expect([applied, programmed, events]).toEqual([[[7]], [1], ['failure', 'table']]);
  });

  test('a newer table takes the place of one that failed', async () => {
    let failures = 1;
    const applied: number[][] = [];
    const { kernel, clock, programmed } = queue({
      apply: async ({ rows }) => {
        if (failures-- > 0) throw new Error('busy');
        applied.push([...rows.keys()]);
        return false;
      },
    });
    kernel.program(1, rowsOf(7), nothingStays);
    await idle(kernel, clock);
    kernel.program(2, rowsOf(8), nothingStays);
    await idle(kernel, clock);
    clock.pass(1000);
    await idle(kernel, clock);
    expect([applied, programmed]).toEqual([[[8]], [2]]);
  });

  test('a table that fails does not come back over a newer one that was asked for meanwhile', async () => {
    let fail = (_error: Error): void => {};
    const first = new Promise<void>((_resolve, reject) => {
      fail = reject;
    });
    const applied: number[][] = [];
    const { kernel, clock, programmed } = queue({
      apply: async ({ rows }) => {
        if (rows.has(7)) await first;
        applied.push([...rows.keys()]);
        return false;
      },
    });
    kernel.program(1, rowsOf(7), nothingStays);
    // The first transaction is under way from the next turn on.
    await Promise.resolve();
    kernel.program(2, rowsOf(8), nothingStays);
    fail(new Error('busy'));
    await idle(kernel, clock);
    clock.pass(1000);
    await idle(kernel, clock);
    expect([applied, programmed]).toEqual([[[8]], [2]]);
  });

  test('a lease that cannot be armed has the kernel looked at, at once', async () => {
    const { kernel, clock, events, rebuilt } = queue({
      arm: () => {
        throw new Error('no such table');
      },
      repair: async () => true,
    });
    kernel.fence((dataPlane) => dataPlane.arm('lease', 1, 500));
    await idle(kernel, clock);
    expect(events).toEqual(['failure', 'repaired']);
    expect(rebuilt.length).toBe(1);
  });

  test('looks at the kernel once a second, and tells when it had to repair it', async () => {
    const answers = [false, true, false];
    const { kernel, clock, events } = queue({ repair: async () => answers.shift() ?? false });
    for (let second = 0; second < 3; second++) {
      clock.pass(1000);
      await idle(kernel, clock);
    }
    expect(events).toEqual(['repaired']);
    kernel.stop();
    clock.pass(5000);
    expect(answers).toEqual([]);
  });
});
