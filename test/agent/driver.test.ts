import { expect, test } from 'vitest';
import { type DriverParts, startDriver } from '../../src/agent/driver.ts';
import { createFakeDataPlane } from '../../src/dataplane/fake.ts';
import { bench } from '../sim/bench.ts';

/** A driver whose state machine wants nothing but a tick at `at.next`. */
function idle(): {
  readonly timers: number[];
  readonly at: { next: number };
  readonly fire: () => void;
  readonly driver: ReturnType<typeof startDriver>;
} {
  const { world } = bench();
  const timers: number[] = [];
  const at = { next: 50 };
  const callbacks: (() => void)[] = [];
  const parts: DriverParts = {
    control: { handle: () => [], nextTimeout: () => at.next, view: never },
    channel: { session: 1, seal: (body) => body, rekey() {}, open: () => ({ ok: false, reason: 'none' }) },
    network: { multicast() {}, unicast() {}, close: async () => {} },
    dataPlane: createFakeDataPlane(() => 0),
    service: world.lan.service,
    flows: { list: () => [], find: () => [], destroy: () => 0 },
    store: { read: () => null, write() {}, remove() {} },
    clock: {
      now: () => 0,
      wakeAt(when, callback) {
        timers.push(when);
        callbacks.push(callback);
        return () => {};
      },
    },
    letGo() {},
    advertise() {},
    probe() {},
    onEvent() {},
  };
  const driver = startDriver(parts);
  return { timers, at, driver, fire: () => callbacks.at(-1)?.() };
}

function never(): never {
  throw new Error('nobody looks');
}

test('input that leaves the next tick where it was leaves its timer alone; a tick, or another time, sets a new one', () => {
  const { timers, at, driver, fire } = idle();
  timers.length = 0;
  driver.health(true);
  driver.alive('r2');
  expect(timers).toEqual([]);
  at.next = 20;
  driver.health(true);
  expect(timers).toEqual([20]);
  fire();
  expect(timers).toEqual([20, 20]);
});
