import { expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import { newRow, ownRow, type Row } from '../../src/dataplane/forwarding-table.ts';
import { invariants } from '../../src/sim/checkers.ts';
import type { Connection } from '../../src/sim/client.ts';
import { bench, program } from './bench.ts';

const slot = 1;
/** Longer than any frame is on its way. */
const pauseMs = 10;

/** Kernels programmed by hand, without delay, while a client of the slot opens four connections each millisecond. */
function moving(seed: number): {
  readonly world: ReturnType<typeof bench>['world'];
  readonly violation: () => ReturnType<typeof bench>['timeline']['violation'];
  readonly connections: readonly Connection[];
  readonly rows: (host: 'a' | 'b', row: Row | null) => Promise<void>;
  readonly pass: (ms: number) => Promise<boolean>;
  readonly macs: { readonly a: string; readonly b: string };
} {
  const { timeline, world, hosts } = bench(seed);
  world.kernelFaults.transactionMsMax = 0;
  const [a, b] = hosts;
  const client = defined(world.clients[slot], 'a client of the slot');
  const connections: Connection[] = [];
  const pass = async (ms: number): Promise<boolean> => {
    for (let step = 0; step < ms * 4; step++) {
      connections.push(client.connect());
      if (!(await timeline.run(0.25))) return false;
    }
    return true;
  };
  return {
    ...{ world, connections, pass, macs: { a: a.mac, b: b.mac }, violation: () => timeline.violation },
    rows: (name, row) => program(world, name === 'a' ? a : b, row ? { [slot]: row } : {}, 60_000, 0),
  };
}

test('a move that makes before it breaks loses nothing, and nothing is answered twice', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const { world, connections, rows, pass, macs, violation } = moving(seed);
    await rows('a', ownRow);
    await pass(20);
    await rows('b', { kind: 'relay', peer: macs.a });
    await pass(5);
    await rows('a', { kind: 'old', peer: macs.b });
    await pass(pauseMs);
    await rows('b', newRow);
    await pass(20);
    await rows('a', { kind: 'old', peer: null });
    await world.timeline.run(900);
    expect(violation()).toBeNull();
    const holders = new Set(connections.map(({ holder }) => holder?.name));
    expect([...holders].sort()).toEqual(['n1', 'n2']);
    // A SYN was never lost in between: none had to be sent again.
    expect(connections.filter(({ state }) => state === 'opening')).toEqual([]);
  }
});

test('without the pause, a SYN in flight is answered by both', async () => {
  const broken: unknown[] = [];
  for (let seed = 1; seed <= 10; seed++) {
    const { rows, pass, macs, violation } = moving(seed);
    await rows('a', ownRow);
    await rows('b', { kind: 'relay', peer: macs.a });
    await pass(20);
    await rows('a', { kind: 'old', peer: macs.b });
    await rows('b', newRow);
    await pass(20);
    broken.push(violation()?.invariant);
  }
  expect(broken).toContain(invariants.oneAnswer);
});

test('an owner that calls itself settled too early resets what the other holds', async () => {
  const { rows, pass, macs, violation, world } = moving(1);
  await rows('a', ownRow);
  await pass(20);
  await rows('b', { kind: 'relay', peer: macs.a });
  await rows('a', { kind: 'old', peer: macs.b });
  await pass(pauseMs);
  await rows('b', ownRow);
  await world.timeline.run(2000);
  expect([invariants.established, invariants.oneAnswer]).toContain(violation()?.invariant);
});
