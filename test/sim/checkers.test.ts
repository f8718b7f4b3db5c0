import { describe, expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import { newRow, ownRow } from '../../src/dataplane/forwarding-table.ts';
import { filterFault, invariants } from '../../src/sim/checkers.ts';

import type { Frame } from '../../src/sim/frame.ts';
import type { Agent } from '../../src/sim/host.ts';
import { coverSlots } from '../../src/space/index.ts';
import { bench, program } from './bench.ts';

const map = (epoch: number, owners: readonly string[], by = 'n1') => ({ epoch, by, owners });

describe('invariant 1', () => {
  test('two kernels that take new flows of one slot', async () => {
    const { timeline, world, hosts } = bench();
    await program(world, hosts[0], { 0: ownRow, 1: ownRow });
    await program(world, hosts[1], { 1: newRow });
    expect(timeline.violation).toMatchObject({
      invariant: invariants.oneTaker,
      what: 'slot 1 is taken by n1 and now by n2',
    });
  });

  test('not a second one whose former taker has no lease any more', async () => {
    const { timeline, world, hosts } = bench();
    await program(world, hosts[0], { 1: ownRow }, 100);
    await timeline.run(110);
    await program(world, hosts[1], { 1: ownRow });
    expect(timeline.violation).toBeNull();
  });

  test('not one that only takes what the other relays', async () => {
    const { timeline, world, hosts } = bench();
    await program(world, hosts[0], { 1: newRow });
    await program(world, hosts[1], { 1: { kind: 'old', peer: hosts[0].mac } });
    await program(world, hosts[2], { 1: { kind: 'relay', peer: hosts[0].mac } });
    expect(timeline.violation).toBeNull();
  });
});

test('invariant 2: filters that leave a slot out, or accept one twice', () => {
  const { world } = bench();
  const { partition } = world.lan.service;
  const owners = ['n1', 'n1', 'n2', null];
  const filters = (n1: number[], n2: number[]) =>
    new Map([
      ['n1', coverSlots(partition, n1)],
      ['n2', coverSlots(partition, n2)],
    ]);
  expect(filterFault(partition, owners, filters([0, 1], [2]))).toBeNull();
  expect(filterFault(partition, owners, filters([0, 1], []))).toBe('slot 2 of n2 is accepted by []');
  expect(filterFault(partition, owners, filters([0, 1], [1, 2]))).toBe('slot 1 of n1 is accepted by [n1,n2]');
  expect(filterFault(partition, owners, filters([0, 1, 3], [2]))).toBe('slot 3 of null is accepted by [n1]');
});

describe('invariant 3', () => {
  test('two maps of one epoch', () => {
    const { timeline, world, hosts } = bench();
    world.checkers.acted(hosts[0], map(5, ['n1', 'n1', 'n1', 'n1']));
    world.checkers.acted(hosts[1], map(5, ['n1', 'n1', 'n1', 'n2']));
    expect(timeline.violation?.invariant).toBe(invariants.oneMap);
  });

  test('a host that goes back', () => {
    const { timeline, world, hosts } = bench();
    world.checkers.acted(hosts[0], map(4, ['n1', 'n1', 'n1', 'n1']));
    world.checkers.acted(hosts[0], map(5, ['n1', 'n1', 'n1', 'n1']));
    world.checkers.acted(hosts[0], map(4, ['n1', 'n1', 'n1', 'n1']));
    expect(timeline.violation?.what).toBe('n1 goes back from epoch 5 to 4');
  });
});

test('invariant 4: a map that gives away a slot whose owner still takes it', async () => {
  const { timeline, world, hosts } = bench();
  await program(world, hosts[0], { 2: ownRow, 3: { kind: 'old', peer: hosts[1].mac } });
  world.checkers.acted(hosts[1], map(1, ['n1', 'n1', 'n1', 'n1']));
  world.checkers.acted(hosts[1], map(2, ['n1', 'n1', 'n1', 'n2']));
  expect(timeline.violation).toBeNull();
  world.checkers.acted(hosts[1], map(3, ['n1', 'n1', 'n2', 'n2']));
  expect(timeline.violation?.what).toBe('epoch 3 gives slot 2 to n2, and n1 still takes it');
});

describe('invariant 5', () => {
  const frame = (world: ReturnType<typeof bench>['world']): Frame => ({
    ...{ kind: 'request', client: defined(world.clients[1], 'a client'), port: 1024, serverIsn: 7, request: 1 },
    answered: null,
  });

  test('a frame that two hosts answer', () => {
    const { timeline, world, hosts } = bench();
    const one = frame(world);
    world.checkers.answered(one, hosts[0], false);
    world.checkers.answered(one, hosts[0], false);
    expect(timeline.violation).toBeNull();
    world.checkers.answered(one, hosts[1], false);
    expect(timeline.violation?.what).toBe('a request of slot 1 is answered by n1 and n2');
  });

  test('a relayed frame may meet the other side of a flip, but not for long', async () => {
    const { timeline, world, hosts } = bench();
    const one = frame(world);
    world.checkers.answered(one, hosts[0], true);
    await timeline.run(9);
    world.checkers.answered(one, hosts[1], false);
    expect(timeline.violation).toBeNull();
    await timeline.run(2);
    world.checkers.answered(one, hosts[2], false);
    expect(timeline.violation?.invariant).toBe(invariants.oneAnswer);
  });

  test('a host that was cut off answers beside the new owner until it hears the newest map, and not after', async () => {
    const { timeline, world, hosts } = bench();
    const [away, owner] = hosts;
    const both = () => {
      const one = frame(world);
      world.checkers.answered(one, away, false);
      world.checkers.answered(one, owner, false);
    };
    for (const host of [away, owner]) world.checkers.acted(host, map(1, ['n1', 'n1', 'n1', 'n1']));
    away.pullCable();
    await timeline.run(2000);
    world.checkers.acted(owner, map(2, ['n2', 'n2', 'n2', 'n2']));
    away.plugCable();
    away.run({} as Agent);
    await timeline.run(10_000);
    both();
    const late = frame(world);
    world.checkers.answered(late, away, false);
    away.forget();
    world.checkers.answered(late, owner, false);
    expect(timeline.violation).toBeNull();
    world.checkers.acted(away, map(2, ['n2', 'n2', 'n2', 'n2']));
    both();
    expect(timeline.violation?.what).toBe('a request of slot 1 is answered by n1 and n2');
  });

  test('a kernel that sends on what was relayed to it', async () => {
    const { timeline, world, hosts } = bench();
    await program(world, hosts[0], { 1: { kind: 'relay', peer: hosts[1].mac } });
    await program(world, hosts[1], { 1: { kind: 'relay', peer: hosts[0].mac } });
    hosts[1].kernel.judge = ({ relayedBy }) => (relayedBy === undefined ? 'drop' : 'relay');
    world.clients[1]?.connect();
    await timeline.run(10);
    expect(timeline.violation?.what).toBe('n2 relays a syn of slot 1 that was relayed to it');
  });
});

describe('invariant 6', () => {
  test('an owner that resets what another still holds', async () => {
    const { timeline, world, hosts } = bench();
    await program(world, hosts[0], { 1: ownRow }, 1000);
    const connection = defined(world.clients[1], 'a client').connect();
    await timeline.run(1000);
    expect(connection).toMatchObject({ state: 'established', holder: hosts[0] });
    await program(world, hosts[0], {});
    await program(world, hosts[1], { 1: ownRow });
    await timeline.run(2000);
    expect(timeline.violation).toMatchObject({ invariant: invariants.established });
    expect(timeline.violation?.what).toContain('held by n1 is reset by n2');
  });

  test('not when the holder is dead, whose clients are to be told', async () => {
    const { timeline, world, hosts } = bench();
    await program(world, hosts[0], { 1: ownRow });
    const connection = defined(world.clients[1], 'a client').connect();
    await timeline.run(10);
    hosts[0].crash();
    await program(world, hosts[1], { 1: ownRow });
    await timeline.run(3000);
    expect(timeline.violation).toBeNull();
    expect(world.clients[1]?.connections.get(connection.port)).toBeUndefined();
  });

  test('a connection of a host that was taken for gone may break, until the map names it again for long enough', async () => {
    const { timeline, world, hosts } = bench();
    const [away, owner] = hosts;
    await program(world, away, { 1: ownRow });
    const connection = defined(world.clients[1], 'a client').connect();
    await timeline.run(10);
    away.pullCable();
    await timeline.run(2000);
    world.checkers.acted(owner, map(2, ['n2', 'n2', 'n2', 'n2']));
    away.plugCable();
    away.run({} as Agent);
    world.checkers.acted(owner, map(3, ['n2', 'n2', 'n2', 'n2']), () => [{ name: 'n1', slots: [1] }]);
    const broken = { ...connection, holder: away, holderBoot: away.boot, waitingSince: null };
    await timeline.run(3900);
    world.checkers.reset(broken, owner);
    expect(timeline.violation).toBeNull();
    await timeline.run(200);
    world.checkers.reset(broken, owner);
    expect(timeline.violation?.what).toContain('held by n1 is reset by n2');
  });

  test('an answer from a host that does not hold the connection, and none at all', async () => {
    const { timeline, world, hosts } = bench();
    await program(world, hosts[0], { 1: ownRow });
    const connection = defined(world.clients[1], 'a client').connect();
    await timeline.run(10);
    world.checkers.responded(connection, hosts[0], hosts[0].boot);
    expect(timeline.violation).toBeNull();
    world.checkers.responded(connection, hosts[1], hosts[1].boot);
    expect(timeline.violation?.what).toContain('is answered by n2, which does not hold it');

    const other = bench();
    other.world.checkers.stalled({ ...connection, holder: other.hosts[0], holderBoot: other.hosts[0].boot }, 6000);
    expect(other.timeline.violation?.what).toContain('has had no answer for 6000 ms');
  });
});

test('invariants 7, 8 and 9: hostile input that is obeyed, what moves in quiet, what does not recover', () => {
  const hostile = bench();
  hostile.world.checkers.hostile(hostile.hosts[0], 'forged', []);
  expect(hostile.timeline.violation).toBeNull();
  hostile.world.checkers.hostile(hostile.hosts[0], 'forged', ['program']);
  expect(hostile.timeline.violation?.invariant).toBe(invariants.hostile);
  const quiet = bench();
  quiet.world.checkers.quiet('epoch 3', 'epoch 3');
  expect(quiet.timeline.violation).toBeNull();
  quiet.world.checkers.quiet('epoch 3', 'epoch 4');
  expect(quiet.timeline.violation?.invariant).toBe(invariants.quiet);
});
