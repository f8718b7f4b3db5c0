import { expect, test } from 'vitest';
import type { IpAddress } from '../../src/base/address.ts';
import { openScene, type Scene, type SceneConnection } from '../../src/sim/scene.ts';
import { settle } from './bench.ts';

const clients = Array.from({ length: 16 }, (_, i): IpAddress => ({ family: 4, value: 0xc6336400n + BigInt(i) }));
/** Others take a host for gone, and its slots settle, well within this. */
const forgottenMs = 4000;

interface Idle {
  readonly connection: SceneConnection;
  readonly answers: string[];
  ended: string | null;
}

/** A connection of each client has been answered once, and is idle; those of r1 alone. */
async function idleAtR1(seed: number): Promise<{ readonly scene: Scene; readonly idle: readonly Idle[] }> {
  const scene = await openScene({
    ...{ seed, settle, replicas: 3, clients, mask: '0.0.0.15' },
    policy: { strategy: 'equal', handoff: 'forward', drainDeadline: 60 },
    ...{ handoffs: new Set(['forward']), drainMs: 60_000 },
    watch: { table() {}, segment() {} },
  });
  const all = clients.map((_, client): Idle => {
    const answers: string[] = [];
    const each: Idle = {
      answers,
      ended: null,
      connection: scene.connect(client, {
        opened: () => each.connection.ask(),
        answered: (replica) => void answers.push(replica),
        ended(how) {
          each.ended = how;
        },
      }),
    };
    return each;
  });
  await scene.run(500);
  const idle = all.filter(({ answers }) => answers[0] === 'r1');
  expect(idle.length).toBeGreaterThan(2);
  for (const each of all) if (!idle.includes(each)) each.connection.close();
  return { scene, idle };
}

/** Owns nothing by what the others know, and is waited for nowhere. */
function isForgotten(scene: Scene): boolean {
  return scene
    .statuses()
    .filter(({ node }) => node !== 'r1')
    .every(({ owners, held }) => !owners.includes('r1') && held.length === 0);
}

/** They are asked one after the other from now on, and all are answered by r1 within `ms`. */
async function expectKept({ scene, idle }: Awaited<ReturnType<typeof idleAtR1>>, ms = 2000): Promise<void> {
  for (const [i, { connection }] of idle.entries()) scene.after(i * 5, () => connection.ask());
  await scene.run(ms);
  expect(scene.violation).toBeNull();
  expect(idle.map(({ answers, ended }) => ({ answers, ended }))).toEqual(
    idle.map(() => ({ answers: ['r1', 'r1'], ended: null })),
  );
}

const seeds = Array.from({ length: 8 }, (_, i) => i + 1);

test.each(seeds)(
  'connections of a host wrongly taken for gone go on when it is back, and for long: seed %i',
  async (seed) => {
    const { scene, idle } = await idleAtR1(seed);
    scene.cut('r1');
    await scene.run(forgottenMs);
    expect(isForgotten(scene)).toBe(true);
    scene.heal('r1');
    await expectKept({ scene, idle });
    // Longer than it takes to find out that a holder holds nothing.
    await scene.run(5000);
    for (const { connection } of idle) connection.ask();
    await scene.run(1000);
    expect(idle.map(({ answers, ended }) => [answers.length, ended])).toEqual(idle.map(() => [3, null]));
  },
);

test.each(seeds)(
  'those that its own agent does not know of either are asked about, and found: seed %i',
  async (seed) => {
    const { scene, idle } = await idleAtR1(seed);
    scene.cut('r1');
    await scene.run(forgottenMs);
    scene.destroyState('r1');
    scene.flush('r1');
    scene.heal('r1');
    await scene.restart('r1');
    await expectKept({ scene, idle });
  },
);

test('a connection that nobody has is reset when nobody has said otherwise', async () => {
  const { scene, idle } = await idleAtR1(1);
  scene.killHost('r1');
  await scene.run(forgottenMs);
  for (const { connection } of idle) connection.ask();
  await scene.run(100);
  expect(idle.map(({ ended }) => ended)).toEqual(idle.map(() => null));
  await scene.run(100);
  expect(idle.map(({ ended }) => ended)).toEqual(idle.map(() => 'reset'));
  expect(scene.violation).toBeNull();
});

test('once its connections have ended, a host that came back is a holder no more', async () => {
  const { scene, idle } = await idleAtR1(2);
  scene.cut('r1');
  await scene.run(forgottenMs);
  scene.heal('r1');
  await expectKept({ scene, idle });
  expect(scene.statuses().some(({ held }) => held.length > 0)).toBe(true);
  for (const { connection } of idle) connection.close();
  await scene.run(8000);
  expect(scene.statuses().map(({ held }) => held)).toEqual([[], [], []]);
});
