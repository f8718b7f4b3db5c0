import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { advertisedSlots, Routing } from '../../src/control/routing.ts';
import type { Policy } from '../../src/policy/index.ts';
import { encodeMessage } from '../../src/wire/control-message.ts';
import { VirtualNetwork } from './virtual-network.ts';
import { VirtualRouter } from './virtual-router.ts';

const routerNames = ['e1', 'e2'];

function weights(r1: number, r2: number, r3: number): Policy {
  return { strategy: 'weighted', weights: { r1, r2, r3 }, handoff: 'forward', drainDeadline: 3600 };
}

/** Seeds, and weights with the milliseconds until the next: here a replica that had left a slot took it again when it began to leave another. */
const redirected: [number, [number, number, number, number][]][] = [
  [
    336,
    [
      [6, 1, 5, 51],
      [7, 2, 7, 25],
      [7, 0, 8, 17],
      [4, 9, 8, 22],
    ],
  ],
  [
    827,
    [
      [2, 1, 9, 74],
      [8, 2, 9, 15],
      [9, 5, 3, 76],
      [1, 7, 1, 52],
      [6, 2, 8, 19],
      [0, 0, 6, 51],
      [1, 6, 3, 15],
      [3, 8, 3, 0],
    ],
  ],
];

/** Three replicas behind two routers, all settled. */
function behindRouters(seed = 1): { readonly net: VirtualNetwork; readonly routers: readonly VirtualRouter[] } {
  const net = new VirtualNetwork({ seed, routers: routerNames, kernelMs: [1, 20] });
  const routers = routerNames.map((name) => new VirtualRouter(net, name, () => 1 + net.random() * 30));
  net.onAdvertise = (node, { epoch, slots }) => {
    for (const router of routers) router.join(node, epoch, slots);
  };
  net.start().runUntil(() => net.healthy() && isServed(net, routers), 5000);
  return { net, routers };
}

function isServed(net: VirtualNetwork, routers: readonly VirtualRouter[]): boolean {
  return routers.every((router) => slotsOf(net).every((slot) => router.takerOf(slot) !== null));
}

function slotsOf({ partition }: VirtualNetwork): number[] {
  return [...Array(partition.slotCount).keys()];
}

/** Its kernel goes on meanwhile. */
function restart(net: VirtualNetwork, name: string): void {
  net.kill(name);
  net.start(name);
}

function propose(net: VirtualNetwork, policy: Policy): void {
  net.input('r1', { kind: 'propose', at: net.now, change: { kind: 'policy', policy } });
}

describe('behind routers', () => {
  test('every SYN is taken at every instant of moves that are planned, by whichever router it comes', () => {
    const shares = fc.tuple(fc.nat(9), fc.nat(9), fc.integer({ min: 1, max: 9 }));
    fc.assert(
      fc.property(fc.nat(1000), fc.array(shares, { minLength: 1, maxLength: 4 }), (seed, changes) => {
        const { net, routers } = behindRouters(seed);
        for (const change of changes) {
          propose(net, weights(...change));
          for (const end = net.now + 600; net.now < end; net.run(1)) expect(isServed(net, routers)).toBe(true);
        }
        net.runUntil(() => net.healthy(), 5000);
      }),
      { numRuns: 25 },
    );
  });

  test('so it is when moves are redirected before they are done', () => {
    const changes = fc.array(fc.tuple(fc.nat(9), fc.nat(9), fc.integer({ min: 1, max: 9 }), fc.nat(80)), {
      minLength: 4,
      maxLength: 8,
    });
    fc.assert(
      fc.property(fc.nat(1000), changes, (seed, all) => {
        const { net, routers } = behindRouters(seed);
        for (const [r1, r2, r3, ms] of all) {
          propose(net, weights(r1, r2, r3));
          for (const end = net.now + ms; net.now < end; net.run(1)) expect(isServed(net, routers)).toBe(true);
        }
        for (let i = 0; i < 1000; i++, net.run(1)) expect(isServed(net, routers)).toBe(true);
        net.runUntil(() => net.healthy(), 5000);
      }),
      { numRuns: 25, examples: redirected },
    );
  });

  test('one kernel takes each slot, also when agents and routers start anew while it moves', () => {
    const fault = fc.constantFrom('agent', 'router', null);
    const step = fc.tuple(fc.nat(9), fc.nat(9), fc.integer({ min: 1, max: 9 }), fc.nat(80), fault);
    fc.assert(
      fc.property(fc.nat(1000), fc.array(step, { minLength: 4, maxLength: 8 }), (seed, all) => {
        const { net, routers } = behindRouters(seed);
        for (const [r1, r2, r3, ms, fault] of all) {
          propose(net, weights(r1, r2, r3));
          net.run(ms);
          if (fault === 'router') net.pick(routers).restart();
          if (fault === 'agent') restart(net, net.pick(net.names));
        }
        net.runUntil(() => net.healthy() && isServed(net, routers), 10_000);
      }),
      { numRuns: 25 },
    );
  });

  test('a move waits for a router that does not follow, says so, and takes nobody out', () => {
    const { net, routers } = behindRouters();
    const [, second] = routers;
    if (second) second.isDown = true;
    propose(net, weights(0, 1, 1));
    net.run(3000);
    const view = net.control('r1').view();
    expect(view.moves.map(({ phase }) => phase)).toContain('leave');
    expect(view.awaitedRouters).toEqual(['e2']);
    expect(view).toMatchObject({ verdict: 'serving', members: ['r1', 'r2', 'r3'] });
    expect(isServed(net, routers.slice(0, 1))).toBe(true);
  });

  test('the slots of a replica that dies are sent to others', () => {
    const { net, routers } = behindRouters();
    net.crash('r3');
    net.runUntil(() => isServed(net, routers), 2000);
  });

  test('a router says nothing but what it goes by, and nobody else says that', () => {
    const { net } = behindRouters();
    const routed = encodeMessage({ kind: 'routed', members: [] });
    net.deliver('r1', 'r2', routed);
    expect(net.control('r1').view().refused).toEqual({ 'not for a router to say': 1 });
    const question = encodeMessage({ kind: 'question', flows: [] });
    const from = { at: net.now, via: 'unicast', sender: 'e1', session: 9, counter: 1 } as const;
    net.input('r1', { kind: 'message', ...from, body: question });
    expect(net.control('r1').view().refused).toEqual({ 'not for a router to say': 2 });
  });
});

test('a slot is advertised by its owner, and from the phase `leave` of a move on by the new one', () => {
  const { net } = behindRouters();
  const { owners } = net.control('r1').view();
  const ledger = { owners, moves: [{ id: 1, since: 2, from: 'r1', to: 'r2', slots: [0] }] };
  const withPhase = (phase: 'prepare' | 'leave' | 'owned') =>
    ({ ...ledger, moves: ledger.moves.map((move) => ({ ...move, phase })) }) as never;
  const [before, during] = [withPhase('prepare'), withPhase('leave')];
  expect(owners[0]).toBe('r1');
  expect(advertisedSlots(before, 'r1')).toContain(0);
  expect(advertisedSlots(before, 'r2')).not.toContain(0);
  expect(advertisedSlots(during, 'r1')).not.toContain(0);
  expect(advertisedSlots(during, 'r2')).toContain(0);
});

test('a move that follows another of the same slots is advertised under its own epoch', () => {
  const routing = new Routing({ node: 'r1', routers: ['e1'], copies: true });
  const leaving = (epoch: number) =>
    ({
      epoch,
      owners: ['r1', 'r1'],
      moves: [{ phase: 'leave', since: epoch, from: 'r1', to: 'r2', slots: [0] }],
    }) as never;
  expect(routing.takeAdvertisement(leaving(5), 0)).toEqual({ epoch: 5, slots: [1] });
  expect(routing.takeAdvertisement(leaving(5), 0)).toBe(null);
  expect(routing.takeAdvertisement(leaving(7), 0)).toEqual({ epoch: 7, slots: [1] });
});

test('each move is waited for by itself', () => {
  const routing = new Routing({ node: 'r1', routers: ['e1', 'e2'], copies: true });
  const leaving = (id: number, since: number) => ({ id, phase: 'leave', since, from: 'r1', to: 'r2', slots: [id] });
  const ledger = { epoch: 8, owners: ['r1', 'r1'], moves: [leaving(0, 5), leaving(1, 8)] } as never;
  const stillSent = (): number[] => routing.stillSent(ledger).map(({ id }) => id);
  const goesBy = (epoch: number) => ['r1', 'r2'].map((name) => ({ name, epoch }));
  expect(stillSent()).toEqual([0, 1]);
  routing.hear('e1', 1, goesBy(8), 0);
  expect(stillSent()).toEqual([0, 1]);
  routing.hear('e2', 1, goesBy(5), 0);
  expect(stillSent()).toEqual([1]);
  routing.hear('e2', 1, goesBy(8), 0);
  expect(stillSent()).toEqual([]);
});
