import { describe, expect, test } from 'vitest';
import type { DriverEvent } from '../../src/agent/driver.ts';
import { createKernelQueue } from '../../src/agent/kernel-queue.ts';
import type { DataPlane } from '../../src/dataplane/data-plane.ts';
import { createFakeDataPlane } from '../../src/dataplane/fake.ts';
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
} {
  const applied: number[][] = [];
  const programmed: number[] = [];
  const events: DriverEvent['kind'][] = [];
  const clock = handClock();
  const dataPlane: DataPlane = {
    ...createFakeDataPlane(clock.now),
    apply: async ({ rows }) => void applied.push([...rows.keys()]),
    ...overrides,
  };
  const parts = {
    dataPlane,
    service: serviceWith('0.0.0.255'),
    clock,
    onEvent: (event: DriverEvent) => void events.push(event.kind),
  };
  return {
    kernel: createKernelQueue(parts, (revision) => programmed.push(revision)),
    clock,
    applied,
    programmed,
    events,
  };
}

describe('the queue to the kernel', () => {
  test('says what is programmed once the kernel confirms', async () => {
    const { kernel, applied, programmed, events } = queue();
    kernel.program(1, new Set([4, 5]));
    expect(programmed).toEqual([]);
    await kernel.idle();
    expect([applied, programmed, events]).toEqual([[[4, 5]], [1], ['table']]);
  });

  test('skips tables that were overtaken while the kernel was busy', async () => {
    const { kernel, applied, programmed } = queue();
    for (const revision of [1, 2, 3]) kernel.program(revision, new Set([revision]));
    await kernel.idle();
    expect([applied, programmed]).toEqual([[[3]], [3]]);
  });

  test('tries a failed transaction again, and confirms nothing before', async () => {
    let failures = 1;
    const applied: number[][] = [];
    const { kernel, clock, programmed, events } = queue({
      apply: async ({ rows }) => {
        if (failures-- > 0) throw new Error('busy');
        applied.push([...rows.keys()]);
      },
    });
    kernel.program(1, new Set([7]));
    await kernel.idle();
    expect([applied, programmed, events]).toEqual([[], [], ['failure']]);
    clock.pass(100);
    await kernel.idle();
    expect([applied, programmed, events]).toEqual([[[7]], [1], ['failure', 'table']]);
  });

  test('a newer table takes the place of one that failed', async () => {
    let failures = 1;
    const applied: number[][] = [];
    const { kernel, clock, programmed } = queue({
      apply: async ({ rows }) => {
        if (failures-- > 0) throw new Error('busy');
        applied.push([...rows.keys()]);
      },
    });
    kernel.program(1, new Set([7]));
    await kernel.idle();
    kernel.program(2, new Set([8]));
    await kernel.idle();
    clock.pass(1000);
    await kernel.idle();
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
      },
    });
    kernel.program(1, new Set([7]));
    // The first transaction is under way from the next turn on.
    await Promise.resolve();
    kernel.program(2, new Set([8]));
    fail(new Error('busy'));
    await kernel.idle();
    clock.pass(1000);
    await kernel.idle();
    expect([applied, programmed]).toEqual([[[8]], [2]]);
  });

  test('a lease that cannot be armed has the kernel looked at, at once', async () => {
    const { kernel, events } = queue({
      arm: () => {
        throw new Error('no such table');
      },
      repair: async () => true,
    });
    kernel.lease((dataPlane) => dataPlane.arm(1, 500));
    await kernel.idle();
    expect(events).toEqual(['failure', 'repaired']);
  });

  test('looks at the kernel once a second, and tells when it had to repair it', async () => {
    const answers = [false, true, false];
    const { kernel, clock, events } = queue({ repair: async () => answers.shift() ?? false });
    for (let second = 0; second < 3; second++) {
      clock.pass(1000);
      await kernel.idle();
    }
    expect(events).toEqual(['repaired']);
    kernel.stop();
    clock.pass(5000);
    expect(answers).toEqual([]);
  });
});
