import fc from 'fast-check';
import { expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import type { Change } from '../../src/control/change.ts';
import type { ControlInput, ControlOutput } from '../../src/control/io.ts';
import type { Policy } from '../../src/policy/index.ts';
import { bodyBytesMax } from '../../src/wire/envelope.ts';
import { VirtualNetwork } from './virtual-network.ts';

type Datagram = ControlInput & { readonly kind: 'message' };

/** A network with a past, all datagrams that anybody was sent in it, and what its agents want done from then on. */
interface Recorded {
  readonly net: VirtualNetwork;
  readonly datagrams: readonly Datagram[];
  readonly wanted: readonly ControlOutput[];
}

/** Shares were moved, and one agent has left and come back: there are ledgers of several epochs, proposals, questions, farewells, and two sessions. */
function recorded(): Recorded {
  const net = new VirtualNetwork();
  const datagrams: Datagram[] = [];
  const wanted: ControlOutput[] = [];
  tap(net.start(), datagrams, wanted, net.names);
  net.runUntil(() => net.healthy(), 5000);
  const weights = { r1: 2, r2: 1, r3: 1 };
  net.input('r3', { kind: 'propose', at: net.now, change: policy({ strategy: 'weighted', weights, ...handoff }) });
  net.run(1000);
  ask(net);
  net.input('r3', { kind: 'leave', at: net.now });
  net.run(2000);
  tap(net.start('r3'), datagrams, wanted, ['r3']);
  net.input('r3', { kind: 'propose', at: net.now, change: policy({ strategy: 'equal', ...handoff }) });
  net.run(3000);
  expect(net.healthy(), net.describe()).toBe(true);
  const past = [...datagrams];
  // What was on its way to others when the recording ends is old by then.
  net.run(200);
  wanted.length = 0;
  return { net, datagrams: past, wanted };
}

/** The owner of a slot asks about a flow; another has it, and becomes a holder until it ends. */
function ask(net: VirtualNetwork): void {
  const { owners } = net.control('r1').view();
  const owner = owners[1] ?? 'r1';
  const other = net.host(owner === 'r1' ? 'r2' : 'r1');
  const flow = { client: { family: 4 as const, value: 1n }, clientPort: 1, servicePort: 80 };
  other.flows = [flow];
  net.input(owner, { kind: 'unknown', at: net.now, flow, reset: new Uint8Array(40) });
  net.runUntil(
    () =>
      net
        .control('r1')
        .view()
        .holders.some(({ name }) => name === other.name),
    500,
  );
  other.flows = [];
}

function policy(wanted: Policy): Change {
  return { kind: 'policy', policy: wanted };
}

const handoff = { handoff: 'reset', drainDeadline: 60 } as const;

function tap(net: VirtualNetwork, datagrams: Datagram[], wanted: ControlOutput[], names: readonly string[]): void {
  for (const name of names) {
    const control = net.control(name);
    net.host(name).control = {
      handle(input) {
        if (input.kind === 'message') datagrams.push(input);
        const outputs = control.handle(input);
        wanted.push(...outputs);
        return outputs;
      },
      nextTimeout: () => control.nextTimeout(),
      view: () => control.view(),
    };
  }
}

/** What an attack may not change, of every agent. */
function standing(net: VirtualNetwork): unknown {
  return net.names.map((name) => {
    const { epoch, owners, verdict, coordinator, policy } = net.control(name).view();
    return { epoch, owners, verdict, coordinator, policy };
  });
}

const nodes = ['r1', 'r2', 'r3'];
const bounds = { numRuns: 40, endOnFailure: true };

/** Delivers at one instant, in which nothing else happens. */
function attack({ net, wanted }: Recorded, deliver: () => void): void {
  const before = standing(net);
  deliver();
  const kinds = new Set(wanted.map(({ kind }) => kind));
  for (const kind of ['program', 'grant', 'persist', 'reset', 'event', 'letGo'] as const)
    expect(kinds).not.toContain(kind);
  expect(standing(net)).toEqual(before);
  net.run(700);
  expect(standing(net)).toEqual(before);
  expect(net.healthy()).toBe(true);
}

test('recorded datagrams, sent again in any order to anybody, change nothing', () => {
  const picks = fc.array(fc.record({ to: fc.constantFrom(...nodes), which: fc.nat() }), {
    maxLength: 300,
    size: 'max',
  });
  fc.assert(
    fc.property(picks, (chosen) => {
      const past = recorded();
      attack(past, () => {
        for (const { to, which } of chosen) {
          const datagram = defined(past.datagrams[which % past.datagrams.length], 'a datagram');
          past.net.input(to, { ...datagram, at: past.net.now });
        }
      });
    }),
    bounds,
  );
});

test('all that was ever sent, sent again at once, changes nothing and is counted', () => {
  const past = recorded();
  attack(past, () => {
    for (const datagram of past.datagrams) {
      for (const to of past.net.names) past.net.input(to, { ...datagram, at: past.net.now });
    }
  });
  for (const name of past.net.names) {
    const { refused } = past.net.control(name).view();
    expect(refused.replayed, name).toBeGreaterThan(100);
    if (name !== 'r3') expect(refused['old session'], name).toBeGreaterThan(100);
  }
});

test('bodies that make no sense, from peers and under new counters, change nothing', () => {
  const anyBytes = fc.uint8Array({ maxLength: bodyBytesMax, size: 'max' });
  const body = fc.oneof(
    anyBytes.map((bytes) => () => bytes),
    // As if it were a message of some kind.
    fc.tuple(fc.nat(5), anyBytes).map(
      ([kind, bytes]) =>
        () =>
          Uint8Array.of(kind, ...bytes).slice(0, bodyBytesMax),
    ),
    // The beginning of a real one, or with bytes left over.
    fc.tuple(fc.nat(), fc.nat()).map(([which, length]) => (real: readonly Datagram[]) => {
      const whole = defined(real[which % real.length], 'a datagram').body;
      return whole.slice(0, length % whole.length);
    }),
    fc.tuple(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 40 })).map(
      ([which, more]) =>
        (real: readonly Datagram[]) =>
          Uint8Array.of(...defined(real[which % real.length], 'a datagram').body, ...more),
    ),
  );
  const sent = fc.array(fc.record({ to: fc.constantFrom(...nodes), from: fc.constantFrom(...nodes), body }), {
    maxLength: 20,
    size: 'max',
  });
  fc.assert(
    fc.property(sent, (all) => {
      const past = recorded();
      attack(past, () => {
        for (const { to, from, body: make } of all) past.net.deliver(to, from, make(past.datagrams));
      });
    }),
    bounds,
  );
});

test('answers to an earlier life of an agent do not extend the lease of the next, when it is cut off and starts again', () => {
  const { net, datagrams } = recorded();
  const { coordinator } = net.control('r1').view();
  const victim = defined(
    net.names.find((name) => name !== coordinator && name !== 'r3'),
    'a replica in its first life',
  );
  const answers = datagrams.filter(({ sender }) => sender === coordinator);
  expect(answers.length).toBeGreaterThan(20);
  net.kill(victim);
  net.isolate(victim);
  net.start(victim);
  // The network itself fails when two kernels accept a slot.
  for (let turn = 0; turn < 3000; turn++) {
    net.run(5);
    const answer = answers[turn % answers.length];
    if (answer) net.input(victim, { ...answer, at: net.now });
  }
  expect(net.accepting(victim).size).toBe(0);
  expect(net.served()).toBe(net.partition.slotCount);
});
