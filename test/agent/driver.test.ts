import { expect, test } from 'vitest';
import { type DriverParts, startDriver } from '../../src/agent/driver.ts';
import { createFakeDataPlane } from '../../src/dataplane/fake.ts';
import { bench } from '../sim/bench.ts';

/** A driver whose state machine wants nothing but a tick at `at.next`. */
function idle(more: Partial<DriverParts> = {}): {
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
    onFault(error) {
      throw error;
    },
    ...more,
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

test('a driver whose state cannot be stored stops before it says what depends on that, and tells whoever ends the process', () => {
  const full = new Error('no space left on device');
  const faults: unknown[] = [];
  const said: unknown[] = [];
  const persisted = { kind: 'persist', state: new Uint8Array() } as const;
  const sent = { kind: 'send', to: 'group', body: new Uint8Array() } as const;
  const handled: string[] = [];
  const { driver } = idle({
    control: {
      handle(input) {
        handled.push(input.kind);
        return input.kind === 'propose' ? [persisted, sent] : [];
      },
      nextTimeout: () => 50,
      view: never,
    },
    network: { multicast: (datagram) => void said.push(datagram), unicast() {}, close: async () => {} },
    store: {
      read: () => null,
      write() {
        throw full;
      },
      remove() {},
    },
    onFault: (error) => void faults.push(error),
  });
  expect(() => driver.propose({ kind: 'drain', name: 'r1' })).toThrow(full);
  driver.health(true);
  expect({ faults, said, handled }).toEqual({ faults: [full], said: [], handled: ['tick', 'propose'] });
});
