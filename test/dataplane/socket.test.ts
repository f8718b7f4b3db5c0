import { expect, test } from 'vitest';
import { createSocketDataPlane, type ShareSocket } from '../../src/dataplane/socket.ts';
import type { Instruction } from '../../src/dataplane/socket-filter.ts';
import { serviceWith, tableOf } from '../contract/data-plane-contract.ts';

const service = serviceWith('0.0.0.3', { ports: [{ protocol: 'udp', port: 7 }] });

/** Time that stands still until it is moved. */
function clockUnderTest() {
  let now = 1000;
  const timers = new Set<{ readonly at: number; readonly callback: () => void }>();
  return {
    clock: {
      now: () => now,
      wakeAt(at: number, callback: () => void) {
        const timer = { at, callback };
        timers.add(timer);
        return () => void timers.delete(timer);
      },
    },
    async until(at: number): Promise<void> {
      now = at;
      for (const timer of [...timers].filter((each) => each.at <= at)) {
        timers.delete(timer);
        timer.callback();
      }
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

/** Notes in order what is done to it; `fits` says which programs its kernel takes, `hears` whether its application answers. */
function socketUnderTest(fits: (program: readonly Instruction[]) => boolean, hears = true) {
  const done: string[] = [];
  const socket: ShareSocket = {
    port: 7,
    attach(program) {
      const [code, , , operand] = program[0] ?? [];
      const name = code === 0x06 ? (operand === 0 ? 'shut' : 'take all') : 'filter';
      if (fits(program)) done.push(name);
      return fits(program);
    },
    drain: () => void done.push('drain'),
    async tell({ by, filters }) {
      done.push(`${by} ${filters.length}`);
      return hears;
    },
    lease: (until) => void done.push(`lease ${until}`),
    seen: async () => [],
    counts: async () => ({ taken: 3, dropped: 4 }),
  };
  return { socket, done, since: () => done.splice(0) };
}

test('a lease opens an emptied socket, and shuts it by itself when it is over', async () => {
  const { clock, until } = clockUnderTest();
  const { socket, since } = socketUnderTest(() => true);
  const plane = createSocketDataPlane(clock, service);
  expect(await plane.apply(tableOf(service, [1]))).toBe(true);
  plane.join(socket);
  await until(1000);
  expect(since()).toEqual(['shut', 'drain', 'shut', 'kernel 0', 'lease 0']);
  plane.arm('lease', 1, 500);
  plane.grant('hold', 1);
  expect(since()).toEqual([]);
  plane.grant('lease', 1);
  expect(since()).toEqual(['shut', 'drain', 'filter', 'lease 1500']);
  await until(1400);
  plane.arm('lease', 2, 500);
  plane.grant('lease', 2);
  expect(since()).toEqual(['lease 1900']);
  await until(1500);
  expect(since()).toEqual([]);
  await until(1900);
  expect(since()).toEqual(['shut']);
  // A timer that comes late changes nothing.
  await until(2000);
  plane.arm('lease', 3, 500);
  plane.grant('lease', 3);
  expect(since()).toEqual(['shut', 'drain', 'filter', 'lease 2500']);
  plane.grant('lease', null);
  expect(since()).toEqual(['shut', 'lease 0']);
});

test('a program that the kernel refuses a socket leaves the decision to the application, and nothing is taken until that knows', async () => {
  const { clock, until } = clockUnderTest();
  const { socket, since } = socketUnderTest((program) => program.length === 1);
  const plane = createSocketDataPlane(clock, service);
  await plane.apply(tableOf(service, [1]));
  plane.join(socket);
  plane.arm('lease', 1, 500);
  plane.grant('lease', 1);
  await until(1000);
  since();
  expect(plane.deciders()).toEqual(['application']);
  const applied = plane.apply(tableOf(service, [1, 3]));
  await until(1000);
  expect(await applied).toBe(false);
  expect(since()).toEqual(['drain', 'application 1', 'take all']);
});

test('what waits for an application is thrown away when more is its own, as others may have taken it, and not when less is', async () => {
  const { clock, until } = clockUnderTest();
  let isLarge = true;
  const { socket, since } = socketUnderTest((program) => !isLarge || program.length === 1);
  const plane = createSocketDataPlane(clock, service);
  const apply = async (...slots: number[]): Promise<string[]> => {
    const applied = plane.apply(tableOf(service, slots));
    await until(1000);
    await applied;
    return since();
  };
  plane.join(socket);
  plane.arm('lease', 1, 500);
  plane.grant('lease', 1);
  await apply(1, 3);
  expect(plane.deciders()).toEqual(['application']);
  expect(await apply(1)).not.toContain('drain');
  expect(await apply(1, 2)).toContain('drain');
  isLarge = false;
  expect(await apply(1)).toEqual(['filter', 'drain', 'kernel 0']);
});

test('a change waits for the lease of an application that is silent and could not be shut', async () => {
  const { clock, until } = clockUnderTest();
  const { socket } = socketUnderTest(() => false, false);
  const plane = createSocketDataPlane(clock, service);
  await plane.apply(tableOf(service, [1]));
  plane.join(socket);
  plane.arm('lease', 1, 500);
  plane.grant('lease', 1);
  plane.part(socket);
  let isApplied = false;
  const applied = plane.apply(tableOf(service, [])).then(() => {
    isApplied = true;
  });
  await until(1499);
  expect(isApplied).toBe(false);
  await until(1500);
  await applied;
});

test('counts are those of all sockets', async () => {
  const plane = createSocketDataPlane(clockUnderTest().clock, service);
  for (const each of [0, 1]) plane.join(socketUnderTest(() => each === 0).socket);
  expect(await plane.counters()).toMatchObject({ accepted: 6, dropped: 8 });
});
