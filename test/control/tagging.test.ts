import { expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { flowKey, type TcpFlow } from '../../src/base/tcp-flow.ts';
import type { Policy } from '../../src/policy/index.ts';
import { slotOf } from '../../src/space/partition.ts';
import { encodeMessage } from '../../src/wire/control-message.ts';
import { decodeTags } from '../../src/wire/tagged-flows.ts';
import { VirtualNetwork } from './virtual-network.ts';
import { VirtualRouter } from './virtual-router.ts';

const routerNames = ['e1', 'e2'];

function weights(r1: number, r2: number, r3: number, handoff: Policy['handoff'] = 'tag'): Policy {
  return { strategy: 'weighted', weights: { r1, r2, r3 }, handoff, drainDeadline: 3600 };
}

interface Behind {
  readonly net: VirtualNetwork;
  readonly routers: readonly VirtualRouter[];
  readonly flows: readonly TcpFlow[];
}

/** Three replicas behind two routers, all settled; each holds a flow of every slot that it owns. */
function withFlows(seed = 1, each = 1): Behind {
  const net = new VirtualNetwork({ seed, routers: routerNames, kernelMs: [1, 20], policy: weights(1, 1, 1) });
  const routers = routerNames.map((name) => new VirtualRouter(net, name, () => 1 + net.random() * 30));
  net.onAdvertise = (node, { epoch, slots }) => {
    for (const router of routers) router.join(node, epoch, slots);
  };
  net.onSaid = (name, heard) => routers.find((router) => router.name === name)?.hear(heard);
  net.start().runUntil(() => net.healthy() && isServed(net, routers), 5000);
  const { slotCount } = net.partition;
  const flows = Array.from({ length: slotCount * each }, (_, i) => flowOf(i % slotCount, 1024 + i));
  const { owners } = net.control('r1').view();
  for (const name of net.names) {
    net.host(name).flows = flows.filter(({ client }) => owners[slotOf(net.partition, client)] === name);
    net.host(name).holding = new Set(slotsOf(net));
  }
  return { net, routers, flows };
}

function flowOf(slot: number, clientPort: number): TcpFlow {
  return { client: ipAddress(4, 0xc633_6400n + BigInt(slot)), clientPort, servicePort: 80 };
}

function isServed(net: VirtualNetwork, routers: readonly VirtualRouter[]): boolean {
  return routers.every((router) => slotsOf(net).every((slot) => router.takerOf(slot) !== null));
}

function slotsOf({ partition }: VirtualNetwork): number[] {
  return [...Array(partition.slotCount).keys()];
}

function propose(net: VirtualNetwork, policy: Policy): void {
  net.input('r1', { kind: 'propose', at: net.now, change: { kind: 'policy', policy } });
}

/** Where the flows that `name` holds go, by router, without repeats. */
function holders({ net, routers }: Behind, name: string): unknown {
  return routers.map((router) => [...new Set(net.host(name).flows.map((flow) => router.holderOf(flow)))]);
}

/** Runs until everything is moved away from `r1`, in steps of a millisecond, with `look` at each. */
function moveAll({ net }: Behind, look: () => void = () => {}): void {
  propose(net, weights(0, 1, 1));
  const isMoved = () => net.control('r1').view().settled && !net.control('r1').view().owners.includes('r1');
  for (const end = net.now + 5000; net.now < end && !isMoved(); net.run(1)) look();
  expect(isMoved()).toBe(true);
}

test.each([0, 0.2])(
  'before slots are called left, each router sends their flows to the old owner; with %s of all datagrams lost',
  (loss) => {
    const behind = withFlows(3, 2);
    const { net, routers } = behind;
    net.loss = loss;
    const seen = new Set<string>();
    moveAll(behind, () => {
      const { moves } = net.control('r1').view();
      for (const { from, phase, slots } of moves.filter((move) => move.from === 'r1')) {
        if (phase !== 'owned') continue;
        const flows = net.host(from).flows.filter(({ client }) => slots.includes(slotOf(net.partition, client)));
        for (const flow of flows) seen.add(flowKey(flow));
        if (loss === 0)
          expect(routers.map((router) => flows.map((flow) => router.holderOf(flow)))).toEqual(
            routers.map(() => flows.map(() => 'r1')),
          );
      }
      expect(isServed(net, routers)).toBe(true);
    });
    expect(seen.size).toBe(net.host('r1').flows.length);
    net.runUntil(() => JSON.stringify(holders(behind, 'r1')) === '[["r1"],["r1"]]', 3000);
    expect(holders(behind, 'r2')).toEqual([[null], [null]]);
  },
);

test('a router that does not answer for the flows holds a move up for half a second at most', () => {
  const behind = withFlows();
  const [, second] = behind.routers;
  if (second) second.isDeaf = true;
  const begin = behind.net.now;
  moveAll(behind);
  expect(behind.net.now - begin).toBeGreaterThan(500);
  expect(behind.net.now - begin).toBeLessThan(1500);
  expect(holders(behind, 'r1')).toEqual([['r1'], [null]]);
});

test('a router that begins anew sends the flows on all the time, and is told them again', () => {
  const behind = withFlows();
  moveAll(behind);
  const [first] = behind.routers;
  first?.restart();
  for (const end = behind.net.now + 8000; behind.net.now < end; behind.net.run(10)) {
    expect(holders(behind, 'r1')).toEqual([['r1'], ['r1']]);
  }
});

test('tags end with their flows, with the agent that holds them, and under another policy', () => {
  const behind = withFlows();
  const { net, routers } = behind;
  moveAll(behind);
  const [gone, ...left] = net.host('r1').flows;
  net.host('r1').flows = left;
  net.runUntil(() => routers.every(({ tagCount }) => tagCount === left.length), 2000);
  expect(routers.map((router) => gone && router.holderOf(gone))).toEqual([null, null]);
  propose(net, weights(0, 1, 1, 'forward'));
  net.runUntil(() => routers.every(({ tagCount }) => tagCount === 0), 2000);
  propose(net, weights(0, 1, 1));
  net.runUntil(() => routers.every(({ tagCount }) => tagCount === left.length), 2000);
  net.kill('r1');
  net.runUntil(() => routers.every(({ tagCount }) => tagCount === 0), 8000);
});

test('flows that stay the same are named once, and then only their number', () => {
  const behind = withFlows(5, 200);
  const { net } = behind;
  moveAll(behind);
  net.run(2000);
  const said: number[] = [];
  const { onSaid } = net;
  net.onSaid = (router, heard) => {
    said.push(heard.body.length);
    onSaid(router, heard);
  };
  net.run(3000);
  expect(said.length).toBeGreaterThanOrEqual(4);
  expect(said.length).toBeLessThanOrEqual(8);
  expect(Math.max(...said)).toBeLessThan(40);
});

test('nothing is said to routers while the handoff is another', () => {
  const { net } = withFlows();
  const said: unknown[] = [];
  net.onSaid = (_router, { body }) => said.push(decodeTags(body));
  propose(net, weights(0, 1, 1, 'forward'));
  net.run(4000);
  expect(said).toEqual([]);
});

test('a replica does not listen to what is for routers, nor to peers that speak as one', () => {
  const { net } = withFlows();
  net.deliver('r1', 'r2', encodeMessage({ kind: 'tagged', session: 1, number: 1 }));
  expect(net.control('r1').view().refused).toEqual({ 'not for a router to say': 1 });
  const part = { kind: 'part', content: 'tags', transfer: 1, length: 1, index: 0, bytes: Uint8Array.of(1) } as const;
  net.deliver('r1', 'r2', encodeMessage(part));
  expect(net.control('r1').view().refused).toEqual({ 'not for a router to say': 1, 'part not expected': 1 });
});
