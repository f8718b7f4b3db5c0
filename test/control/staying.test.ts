import { expect, test } from 'vitest';
import { addressOf } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { flowKey } from '../../src/base/tcp-flow.ts';
import type { UdpFlow } from '../../src/dataplane/staying.ts';
import { decodeMessage } from '../../src/wire/control-message.ts';
import { keptMax } from '../../src/wire/kept-flows.ts';
import { VirtualNetwork, type VirtualOptions } from './virtual-network.ts';

const idleMs = 2000;
const handoff = { handoff: 'forward', drainDeadline: 60 } as const;

/** Clients that send on flows of some slots every 2 ms, and who answered each last; null for a datagram lost. */
class Clients {
  readonly net: VirtualNetwork;
  readonly lost = new Map<UdpFlow, number>();
  readonly answeredBy = new Map<UdpFlow, string>();
  flows: UdpFlow[];

  constructor(net: VirtualNetwork, flows: UdpFlow[]) {
    this.net = net;
    this.flows = flows;
  }

  run(ms: number): this {
    for (let passed = 0; passed < ms; passed += 2) {
      this.net.run(2);
      for (const flow of this.flows) {
        const by = this.net.datagram(flow);
        if (by === null) this.lost.set(flow, (this.lost.get(flow) ?? 0) + 1);
        else this.answeredBy.set(flow, by);
      }
    }
    return this;
  }

  until(condition: () => boolean, msMax: number): this {
    const end = this.net.now + msMax;
    while (!condition()) {
      expect(this.net.now, this.net.describe()).toBeLessThan(end);
      this.run(4);
    }
    return this;
  }

  holders(): (string | undefined)[] {
    return this.flows.map((flow) => this.answeredBy.get(flow));
  }
}

function flowOf(slot: number, clientPort = 40_000): UdpFlow {
  return { client: addressOf(`10.77.101.${slot}`), clientPort, servicePort: 53 };
}

/** Three replicas that serve; r1 owns slot 0. */
function begun(options: VirtualOptions = {}, flows = [flowOf(0)]): Clients {
  const shares = { r1: '0-7', r2: '8-11', r3: '12-15' };
  const policy = { strategy: 'explicit', shares, ...handoff } as const;
  const net = new VirtualNetwork({ udpIdleMs: idleMs, policy, ...options }).start();
  net.runUntil(() => net.healthy(), 8000);
  return new Clients(net, flows).run(100);
}

function move(clients: Clients, to: string, slots: readonly number[] = [0]): void {
  const { net } = clients;
  net.input(defined(net.running()[0], 'an agent'), {
    kind: 'propose',
    at: net.now,
    change: { kind: 'move', slots, name: to },
  });
}

function owned(clients: Clients, by: string, slot = 0): () => boolean {
  return () =>
    clients.net.running().every((name) => {
      const view = clients.net.control(name).view();
      return view.owners[slot] === by && view.moves.length === 0;
    });
}

test('a flow stays with its holder while its slot moves, without one datagram lost, and new ones go to the new owner', () => {
  const clients = begun();
  expect(clients.holders()).toEqual(['r1']);
  move(clients, 'r2');
  clients.until(owned(clients, 'r2'), 2000).run(500);
  const fresh = flowOf(0, 40_001);
  clients.flows.push(fresh);
  clients.run(500);
  expect(clients.holders()).toEqual(['r1', 'r2']);
  expect(clients.lost.size).toBe(0);
});

test('a flow that is silent goes to the new owner, and the slot settles only then', () => {
  const clients = begun();
  const [flow] = clients.flows;
  move(clients, 'r2');
  clients.until(owned(clients, 'r2'), 2000).run(6000);
  expect(clients.net.control('r1').view().holders).toMatchObject([{ name: 'r1', slots: [0] }]);
  clients.flows = [];
  clients.until(() => clients.net.control('r1').view().holders.length === 0, 2 * idleMs + 2000);
  clients.flows = [defined(flow, 'the flow')];
  clients.run(100);
  expect([clients.holders(), clients.lost.size]).toEqual([['r2'], 0]);
});

test('a flow stays where it is while its slot moves on and back', () => {
  const clients = begun();
  move(clients, 'r2');
  clients.until(owned(clients, 'r2'), 2000);
  clients.flows.push(flowOf(0, 40_001));
  clients.run(100);
  move(clients, 'r3');
  clients.until(owned(clients, 'r3'), 2000);
  clients.flows.push(flowOf(0, 40_002));
  clients.run(100);
  move(clients, 'r1');
  clients.until(owned(clients, 'r1'), 2000).run(200);
  expect(clients.holders()).toEqual(['r1', 'r2', 'r3']);
  move(clients, 'r2');
  clients.until(owned(clients, 'r2'), 2000).run(200);
  expect(clients.holders()).toEqual(['r1', 'r2', 'r3']);
  expect(clients.lost.size).toBe(0);
});

test('flows follow the slot when the new owner does not answer for them in time, and never has one datagram two takers', () => {
  const clients = begun();
  const { net } = clients;
  const deliver = net.input.bind(net);
  net.input = (name, input) => {
    if (input.kind === 'message' && name === 'r1' && contentOf(input.body) === 'known') return;
    deliver(name, input);
  };
  move(clients, 'r2');
  clients.until(owned(clients, 'r2'), 2000).run(1000);
  expect(clients.holders()).toEqual(['r2']);
  expect(net.events.flatMap(({ node, event }) => (event.kind === 'flows' ? [[node, event.following]] : []))).toEqual([
    ['r1', 1],
  ]);
});

test('flows of a holder whose agent dies go to the owner once its lease is over', () => {
  const clients = begun();
  move(clients, 'r2');
  clients.until(owned(clients, 'r2'), 2000).run(100);
  clients.net.kill('r1');
  clients.run(3000);
  expect(clients.holders()).toEqual(['r2']);
  expect(clients.lost.get(defined(clients.flows[0], 'the flow')) ?? 0).toBeLessThan(800);
  clients.net.start('r1');
  clients.run(3000);
  expect(clients.holders()).toEqual(['r2']);
});

test('an owner whose agent is started anew leaves alone what stays elsewhere', () => {
  const clients = begun();
  move(clients, 'r2');
  clients.until(owned(clients, 'r2'), 2000).run(100);
  clients.net.kill('r2');
  clients.net.start('r2');
  clients.run(3000);
  expect([clients.holders(), clients.lost.size]).toEqual([['r1'], 0]);
});

test('handoff reset keeps nothing', () => {
  const policy = { strategy: 'equal', handoff: 'reset', drainDeadline: 60 } as const;
  const clients = begun({ policy });
  const owner = defined(clients.net.control('r1').view().owners[0], 'an owner');
  const other = owner === 'r2' ? 'r3' : 'r2';
  move(clients, other);
  clients.until(owned(clients, other), 2000).run(100);
  expect(clients.holders()).toEqual([other]);
});

test('at the drain deadline nothing stays any more', () => {
  const shares = { r1: '0-7', r2: '8-11', r3: '12-15' };
  const clients = begun({ policy: { strategy: 'explicit', shares, handoff: 'forward', drainDeadline: 4 } });
  move(clients, 'r2');
  clients.until(owned(clients, 'r2'), 2000).run(2000);
  expect(clients.holders()).toEqual(['r1']);
  clients.until(() => clients.net.control('r2').view().holders.length === 0, 6000).run(100);
  expect(clients.holders()).toEqual(['r2']);
});

test('of more flows than a host keeps the rest follow the slot, and it says how many', () => {
  const clients = begun({}, []);
  const { net } = clients;
  const many = Array.from({ length: keptMax + 16 }, (_, i) => flowOf(0, i));
  for (const flow of many) net.host('r1').seen.set(flowKey(flow), { flow, at: net.now + 60_000 });
  move(clients, 'r2');
  clients.until(owned(clients, 'r2'), 2000).run(100);
  const { kept } = net.host('r1').staying;
  expect([kept.size, net.host('r2').staying.foreign.size]).toEqual([keptMax, keptMax]);
  expect(net.events.flatMap(({ event }) => (event.kind === 'flows' ? [event.following] : []))).toEqual([16]);
  const answeredBy = many.map((flow) => [net.datagram(flow), kept.has(flowKey(flow)) ? 'r1' : 'r2']);
  expect(answeredBy.filter(([by, expected]) => by !== expected)).toEqual([]);
});

test.each(Array.from({ length: 8 }, (_, i) => i + 1))(
  'with loss, stops, crashes and moves at random no datagram has two takers, seed %i',
  { timeout: 60_000 },
  (seed) => {
    const all = Array.from({ length: 32 }, (_, slot) => [flowOf(slot), flowOf(slot, 40_001)]).flat();
    const clients = begun(
      { seed, udpIdleMs: 400, duplication: 0.05, latenessMs: [0, 20], kernelMs: [1, 40], delayMs: [1, 15] },
      all,
    );
    const { net } = clients;
    net.loss = seed % 3 === 0 ? 0 : 0.15;
    for (let turn = 0; turn < 40; turn++) {
      const slot = Math.floor(net.random() * 16);
      if (net.running().length > 0)
        move(
          clients,
          net.pick(net.names),
          [slot, (slot + 1) % 16].sort((a, b) => a - b),
        );
      const roll = net.random();
      const victim = net.pick(net.names);
      if (roll < 0.08 && net.running().length === 3) net.crash(victim);
      else if (roll < 0.2 && net.running().length === 3) net.kill(victim);
      else if (roll < 0.35) net.stop(victim, net.random() * 1500);
      else if (roll < 0.45) net.isolate(victim);
      else if (roll < 0.5) net.block(victim, net.pick(net.names));
      else net.healAll();
      // Some fall silent for a while.
      clients.flows = all.filter(() => net.random() < 0.6);
      clients.run(net.random() * 900);
      for (const name of net.names) if (!net.running().includes(name) && net.random() < 0.5) net.start(name);
    }
    net.healAll();
    net.loss = 0;
    for (const name of net.names) if (!net.running().includes(name)) net.start(name);
    clients.run(3000).until(() => net.healthy(), 20_000);
    clients.flows = all;
    clients.run(1000).lost.clear();
    clients.run(1000);
    expect([...clients.lost.keys()].length).toBe(0);
  },
);

/** Of a part; null for anything else. */
function contentOf(body: Uint8Array): string | null {
  const message = decodeMessage(body);
  return message.ok && message.value.kind === 'part' ? message.value.content : null;
}
