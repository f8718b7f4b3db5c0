import { setImmediate } from 'node:timers/promises';
import type { Row } from '../../src/dataplane/forwarding-table.ts';
import { realControl } from '../../src/sim/agent.ts';
import type { Host } from '../../src/sim/host.ts';
import { Life } from '../../src/sim/life.ts';
import { Timeline } from '../../src/sim/timeline.ts';
import { World, type WorldOptions } from '../../src/sim/world.ts';

export const settle = (): Promise<void> => setImmediate();

/** Of a world in which nothing happens but what a test does: no agents, and connections are to be kept. */
export const benchOptions: WorldOptions = {
  replicas: 3,
  voters: 3,
  clients: 4,
  mask: '0.0.0.3',
  policy: { strategy: 'equal', handoff: 'reset', drainDeadline: 60 },
  expect: { handoffs: new Set(['forward']), drainMs: Number.POSITIVE_INFINITY },
  createControl: realControl,
};

/** A world of hosts that are up, with kernels that the test programs by hand. */
export function bench(seed = 1): {
  readonly timeline: Timeline;
  readonly world: World;
  readonly hosts: readonly [Host, Host, Host];
} {
  const timeline = new Timeline(seed, settle, true);
  const world = new World(timeline, benchOptions);
  world.kernelFaults.slow = 0;
  const [a, b, c] = world.hosts;
  if (!a || !b || !c) throw new Error('three hosts');
  for (const host of world.hosts) host.start();
  return { timeline, world, hosts: [a, b, c] };
}

let mark = 1;

/** Gives a host's kernel these rows and, for `leaseMs`, both fences; within `ms`. */
export async function program(
  world: World,
  host: Host,
  rows: Readonly<Record<number, Row>>,
  leaseMs = 60_000,
  ms = 25,
): Promise<void> {
  // No agent is there to be asked.
  const { resetGroup: _, ...unasked } = world.lan.service;
  const service = { ...unasked, ownMac: host.mac };
  const dataPlane = host.kernel.openFor(new Life(world.timeline, world.scheduling), service);
  await dataPlane.adopt();
  const table = { service, rows: new Map(Object.entries(rows).map(([slot, row]) => [Number(slot), row])) };
  const applied = dataPlane.apply(table);
  await world.timeline.run(ms);
  await applied;
  mark++;
  for (const fence of ['hold', 'lease'] as const) {
    dataPlane.arm(fence, mark, leaseMs);
    dataPlane.grant(fence, mark);
  }
}
