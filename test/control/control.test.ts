import { describe, expect, test } from 'vitest';
import { OperatingError } from '../../src/base/operating-error.ts';
import { createControl } from '../../src/control/control.ts';
import type { ControlEvent } from '../../src/control/io.ts';
import { scaledTimers } from '../../src/control/timers.ts';
import { nothingStays } from '../../src/dataplane/staying.ts';
import type { Policy } from '../../src/policy/index.ts';
import { VirtualNetwork } from './virtual-network.ts';

const halfToFirst: Policy = {
  strategy: 'weighted',
  handoff: 'reset',
  drainDeadline: 60,
  weights: { r1: 50, r2: 25, r3: 25 },
};
const allToSecond: Policy = { strategy: 'weighted', handoff: 'reset', drainDeadline: 60, weights: { r2: 1 } };

function started(options: ConstructorParameters<typeof VirtualNetwork>[0] = {}): VirtualNetwork {
  const net = new VirtualNetwork(options).start();
  net.runUntil(() => net.healthy(), 2000);
  return net;
}

function shares(net: VirtualNetwork): Record<string, number> {
  return Object.fromEntries(net.running().map((name) => [name, net.accepting(name).size]));
}

function propose(net: VirtualNetwork, name: string, policy: Policy): void {
  net.input(name, { kind: 'propose', at: net.now, change: { kind: 'policy', policy } });
}

function eventsOf<K extends ControlEvent['kind']>(net: VirtualNetwork, kind: K): (ControlEvent & { kind: K })[] {
  return net.events.flatMap(({ event }) => (event.kind === kind ? [event as ControlEvent & { kind: K }] : []));
}

/** A move has begun, and its old owner has not confirmed yet that it accepts the slots no more. */
function untilLeaving(net: VirtualNetwork): void {
  const leaving = () =>
    net
      .control('r1')
      .view()
      .moves.some(({ phase }) => phase === 'leave');
  net.runUntil(leaving, 500);
}

describe('the first map', () => {
  test('shares everything among all that are there', () => {
    const net = started();
    expect(shares(net)).toEqual({ r1: 6, r2: 5, r3: 5 });
    expect(net.control('r2').view()).toMatchObject({ epoch: 1, coordinator: 'r1', members: ['r1', 'r2', 'r3'] });
    expect(net.control('r2').view().cause).toBe('serving 5 of 16 slots');
    net.run(5000);
    expect(net.control('r1').view().epoch).toBe(1);
  });

  test('waits for those who start a little later', () => {
    const net = new VirtualNetwork().start('r1', 'r2').run(900);
    expect(net.served()).toBe(0);
    net.start('r3');
    net.runUntil(() => net.healthy(), 1000);
    expect(net.control('r3').view()).toMatchObject({ epoch: 1, members: ['r1', 'r2', 'r3'] });
  });

  test('does not wait for ever; who comes later gets a share', () => {
    const net = new VirtualNetwork().start('r1', 'r2').run(1500);
    expect(shares(net)).toEqual({ r1: 8, r2: 8 });
    net.start('r3');
    net.runUntil(() => net.accepting('r3').size === 5 && net.healthy(), 2000);
  });

  test('follows the policy that its maker was given', () => {
    const net = started({ policy: halfToFirst });
    expect(shares(net)).toEqual({ r1: 8, r2: 4, r3: 4 });
  });

  test('is not made by a minority', () => {
    const net = new VirtualNetwork().start('r2').run(5000);
    expect(net.served()).toBe(0);
    expect(net.control('r2').view()).toMatchObject({
      verdict: 'waiting',
      cause: 'waiting: 1 of 3 voters heard, 2 needed',
    });
  });

  test('is made at once by a voter that is alone in its cluster', () => {
    const net = new VirtualNetwork({ nodes: ['r1'] }).start('r1');
    expect(net.runUntil(() => net.healthy(), 2000)).toBeLessThan(500);
    expect(shares(net)).toEqual({ r1: 16 });
  });
});

describe('a policy', () => {
  test('saved on all of them is one change, and each hears that it is in force', () => {
    const net = started();
    for (const name of net.names) propose(net, name, halfToFirst);
    net.runUntil(() => net.accepting('r1').size === 8 && net.healthy(), 2000);
    net.run(1000);
    expect(shares(net)).toEqual({ r1: 8, r2: 4, r3: 4 });
    expect(eventsOf(net, 'proposal').map(({ outcome }) => outcome)).toEqual(['adopted', 'adopted', 'adopted']);
    const changes = eventsOf(net, 'ledger').filter(({ cause }) => cause === 'policy changed');
    expect(new Set(changes.map(({ epoch }) => epoch)).size).toBe(1);
  });

  test('that is in force already changes nothing', () => {
    const net = started({ policy: halfToFirst });
    propose(net, 'r3', { ...halfToFirst, weights: { r3: 25, r2: 25, r1: 50 } });
    net.run(1000);
    expect(eventsOf(net, 'proposal')).toEqual([{ kind: 'proposal', title: 'policy', outcome: 'unchanged' }]);
    expect(net.control('r3').view().epoch).toBe(1);
  });

  test('proposed while the network loses every third datagram comes into force', () => {
    const net = started();
    net.loss = 0.3;
    propose(net, 'r3', allToSecond);
    net.runUntil(() => net.control('r3').view().policy?.strategy === 'weighted', 5000);
    expect(eventsOf(net, 'proposal').map(({ outcome }) => outcome)).toContain('adopted');
  });

  test('that another one overtook is reported as superseded, and stays so', () => {
    const net = started();
    net.block('r3', 'r1');
    net.block('r3', 'r2');
    propose(net, 'r3', allToSecond);
    net.run(100);
    propose(net, 'r1', halfToFirst);
    net.run(100).healAll();
    net.runUntil(() => net.healthy(), 3000);
    expect(shares(net)).toEqual({ r1: 8, r2: 4, r3: 4 });
    const outcomes = net.events
      .filter(({ event }) => event.kind === 'proposal')
      .map(({ node, event }) => [node, event]);
    expect(outcomes).toContainEqual(['r3', { kind: 'proposal', title: 'policy', outcome: 'superseded' }]);
  });

  test('is replaced by a newer one of the same agent', () => {
    const net = started();
    net.isolate('r3');
    propose(net, 'r3', allToSecond);
    propose(net, 'r3', halfToFirst);
    net.run(200).healAll();
    net.runUntil(() => net.accepting('r1').size === 8, 3000);
    expect(eventsOf(net, 'proposal').map(({ outcome }) => outcome)).toEqual(['superseded', 'adopted']);
  });
});

describe('a planned move', () => {
  test('passes prepare, leave, owned and done, and then the old owner resets what it gave away', () => {
    const net = started({ kernelMs: [20, 40] });
    const before = new Set(net.accepting('r1'));
    net.host('r1').holding = before;
    propose(net, 'r1', allToSecond);
    net.runUntil(() => net.healthy() && net.resets.length > 0, 2000);
    const phases = net.events.filter(
      ({ node, event }) => node === 'r1' && event.kind === 'move' && event.from === 'r1',
    );
    expect(phases.map(({ event }) => event.kind === 'move' && event.phase)).toEqual([
      'prepare',
      'leave',
      'owned',
      'done',
    ]);
    const reset = net.resets.filter(({ node }) => node === 'r1');
    expect(reset.map(({ slots }) => slots)).toEqual([before]);
    expect(reset[0]?.at).toBeGreaterThanOrEqual(phases[3]?.at ?? Number.NaN);
  });

  test('goes back to the old owner when the new one dies before it', () => {
    const net = started({ kernelMs: [60, 60] });
    propose(net, 'r1', { strategy: 'weighted', handoff: 'reset', drainDeadline: 60, weights: { r3: 1 } });
    untilLeaving(net);
    net.crash('r3');
    net.runUntil(() => net.healthy(), 2000);
    expect(shares(net)).toEqual({ r1: 8, r2: 8 });
  });

  test('is finished without the old owner when that dies', () => {
    const net = started({ kernelMs: [60, 60] });
    propose(net, 'r1', { strategy: 'weighted', handoff: 'reset', drainDeadline: 60, weights: { r2: 1 } });
    untilLeaving(net);
    net.crash('r3');
    net.runUntil(() => net.healthy(), 2000);
    expect(shares(net)).toEqual({ r1: 0, r2: 16 });
  });

  test('turned by a newer policy before the new owner had it goes where that wants it', () => {
    const net = started({ kernelMs: [60, 60] });
    propose(net, 'r1', allToSecond);
    net.run(30);
    propose(net, 'r1', halfToFirst);
    net.runUntil(() => net.healthy(), 2000);
    expect(shares(net)).toEqual({ r1: 8, r2: 4, r3: 4 });
  });
});

describe('a crash', () => {
  test('of a member is repaired within a second', () => {
    const net = started();
    net.crash('r3');
    expect(net.runUntil(() => net.healthy(), 3000)).toBeLessThan(1000);
    expect(shares(net)).toEqual({ r1: 8, r2: 8 });
    expect(net.control('r1').view().peers).toContainEqual({ name: 'r3', state: 'silent', via: null });
  });

  test('of the coordinator is repaired within a second, and nobody else stops serving', () => {
    const net = started();
    net.crash('r1');
    expect(net.runUntil(() => net.healthy(), 3000)).toBeLessThan(1000);
    expect(net.control('r3').view()).toMatchObject({ coordinator: 'r2', members: ['r2', 'r3'] });
    expect(eventsOf(net, 'verdict').filter(({ verdict }) => verdict === 'fenced')).toEqual([]);
  });

  test('followed by a quick restart keeps the slots', () => {
    const net = started();
    net.crash('r3');
    net.run(200).start('r3');
    net.runUntil(() => net.healthy(), 1000);
    expect(shares(net)).toEqual({ r1: 6, r2: 5, r3: 5 });
    // The ledger names the new life of its host, which holds nothing of the old one's.
    expect(net.control('r3').view().epoch).toBe(2);
  });

  test('of an agent alone, restarted within its lease, changes nothing at all', () => {
    const net = started();
    net.kill('r3');
    net.run(200).start('r3');
    net.runUntil(() => net.healthy(), 1000);
    expect(shares(net)).toEqual({ r1: 6, r2: 5, r3: 5 });
    expect(net.control('r3').view().epoch).toBe(1);
    expect(net.resets).toEqual([]);
  });

  test('of an agent alone leaves its connections where they are until they end', () => {
    const net = started();
    const slots = [...net.accepting('r3')];
    net.kill('r3');
    net.host('r3').holding = new Set(slots.slice(0, 2));
    net.runUntil(() => net.healthy() && net.accepting('r1').size === 8, 2000);
    net.run(5000);
    expect(net.control('r1').view().holders).toEqual([expect.objectContaining({ name: 'r3', slots })]);
    net.start('r3');
    net.runUntil(() => net.healthy() && net.control('r1').view().holders.length > 0, 3000);
    net.run(6000);
    expect(net.resets).toEqual([]);
    net.host('r3').holding = new Set();
    net.runUntil(() => net.control('r1').view().holders.length === 0, 3000);
  });

  test.each(['r3', 'r1'])(
    'of the kernel of %s alone, which does nothing it is told, costs it its slots until it works again',
    (name) => {
      const net = started();
      net.jam(name);
      // Its rows are to change, and do not.
      propose(net, 'r2', {
        strategy: 'weighted',
        handoff: 'forward',
        drainDeadline: 60,
        weights: { r1: 2, r2: 3, r3: 1 },
      });
      const others = net.names.filter((each) => each !== name);
      net.runUntil(() => others.reduce((sum, each) => sum + net.accepting(each).size, 0) === 16, 6000);
      expect(net.control('r2').view().members).toEqual(others);
      net.jam(name, false);
      net.runUntil(() => net.healthy() && net.control('r2').view().members.length === 3, 6000);
      expect(net.accepting(name).size).toBeGreaterThan(0);
    },
  );

  test('of a whole host settles its slots once nobody answers there', () => {
    const net = started();
    net.crash('r3');
    net.runUntil(() => net.healthy(), 2000);
    expect(net.control('r1').view().holders.length).toBe(1);
    net.runUntil(() => net.control('r1').view().holders.length === 0, 2500);
  });

  test('followed by a late return ends in a new share, with the epoch grown', () => {
    const net = started();
    net.crash('r3');
    net.run(3000).start('r3');
    net.runUntil(() => net.healthy() && net.accepting('r3').size === 5, 3000);
    expect(net.control('r3').view().epoch).toBeGreaterThan(2);
  });

  test('of all is survived: the restarted agree on the map they had', () => {
    const net = started({ policy: halfToFirst });
    for (const name of net.names) net.crash(name);
    net.run(5000).start();
    net.runUntil(() => net.healthy(), 2000);
    expect(shares(net)).toEqual({ r1: 8, r2: 4, r3: 4 });
    expect(net.control('r1').view().epoch).toBeGreaterThan(1);
  });
});

describe('nobody serves what another may serve', () => {
  test('a restarted agent does not act on its own old map', () => {
    const net = started();
    net.crash('r3');
    net.run(3000).isolate('r3');
    net.start('r3').run(5000);
    expect(net.accepting('r3').size).toBe(0);
    expect(net.control('r3').view().verdict).toBe('waiting');
  });

  test('a minority drops its share before the majority takes it, and says why', () => {
    const net = started();
    net.isolate('r1');
    net.runUntil(() => net.accepting('r1').size === 0, 600);
    expect(net.accepting('r2').size).toBe(5);
    net.runUntil(() => net.healthy(['r2', 'r3']), 1500);
    expect(net.control('r1').view()).toMatchObject({
      verdict: 'fenced',
      cause: 'fenced: 1 of 3 voters heard, 2 needed',
    });
    net.healAll();
    net.runUntil(() => net.healthy(), 3000);
    expect(Object.values(shares(net)).sort()).toEqual([5, 5, 6]);
  });

  test('a member that hears the coordinator but is not heard by it stops', () => {
    const net = started();
    net.block('r3', 'r1');
    net.runUntil(() => net.accepting('r3').size === 0, 700);
    expect(net.control('r3').view().verdict).toBe('fenced');
    net.runUntil(() => net.accepting('r1').size === 8, 1000);
  });

  test('a member that does not hear the coordinator loses its slots to others, though it is heard', () => {
    const net = started();
    net.block('r1', 'r3');
    net.runUntil(() => net.accepting('r1').size === 8, 1200);
    net.run(2000);
    expect(shares(net)).toEqual({ r1: 8, r2: 8, r3: 0 });
  });

  test('a member that does not hear the coordinator says for how long', () => {
    const net = started();
    net.block('r1', 'r3');
    net.run(700);
    expect(net.control('r3').view().cause).toMatch(/^fenced: coordinator r1 not heard for [67]\d\d ms$/);
  });

  test('who is about to lose its slots gets no lease meanwhile', () => {
    const net = started({ nodes: ['r1', 'r2', 'r3', 'r4'], voters: ['r1', 'r2', 'r3'] });
    const voices = () => {
      for (const voter of ['r2', 'r3']) net.block(voter, 'r1');
    };
    net.isolate('r4');
    net.run(730);
    // The ledger that gives the slots of r4 away is written, but r1 does not learn that it is stored.
    voices();
    net.run(100).healAll();
    voices();
    net.run(40);
    expect(net.control('r1').view()).toMatchObject({ coordinator: 'r1', epoch: 1 });
    expect(net.control('r1').view().peers).toContainEqual({ name: 'r4', state: 'heard', via: 'multicast' });
    expect(net.accepting('r4').size).toBe(0);
    net.healAll();
    net.block('r1', 'r4');
    net.run(1000);
    expect(shares(net)).toEqual({ r1: 6, r2: 5, r3: 5, r4: 0 });
  });

  test('who does not hear the coordinator gets no lease from it', () => {
    const net = started();
    net.block('r1', 'r3');
    net.run(900).healAll();
    // Heard until now, and hearing again: but r1 does not know that when it gives the slots away.
    net.block('r3', 'r1');
    net.runUntil(() => net.accepting('r1').size === 8, 300);
    expect(net.accepting('r3').size).toBe(0);
  });

  test('a new coordinator waits until the leases of the last have ended', () => {
    const net = started({ nodes: ['r1', 'r2', 'r3', 'r4'], voters: ['r1', 'r2', 'r3'] });
    // r4 lives on the word of r1 alone.
    net.block('r4', 'r2');
    net.block('r4', 'r3');
    net.run(2000);
    expect(net.accepting('r4').size).toBe(4);
    net.crash('r1');
    net.run(3000);
    expect(shares(net)).toEqual({ r2: 8, r3: 8, r4: 0 });
  });
});

describe('the control channel', () => {
  test('works without multicast', () => {
    const net = new VirtualNetwork();
    net.multicastBlocked = true;
    net.start();
    net.runUntil(() => net.healthy(), 2000);
    expect(
      net
        .control('r1')
        .view()
        .peers.map(({ via }) => via),
    ).toEqual(['unicast', 'unicast']);
    net.crash('r3');
    expect(net.runUntil(() => net.healthy(), 3000)).toBeLessThan(1000);
  });

  test('carries maps and policies that are longer than a datagram', () => {
    const every = (first: number) => Array.from({ length: 1024 }, (_, i) => first + 4 * i).join(',');
    const shares = { r1: every(0), r2: every(1), r3: every(2) };
    const net = started({ mask: '0.0.15.255', loss: 0.02 });
    propose(net, 'r3', { strategy: 'explicit', handoff: 'reset', drainDeadline: 60, shares });
    net.runUntil(() => net.control('r3').view().policy?.strategy === 'explicit' && net.healthy(), 5000);
    expect(net.accepting('r2').has(4093)).toBe(true);
  });

  test('goes back to multicast when that works', () => {
    const net = new VirtualNetwork();
    net.multicastBlocked = true;
    net.start().run(2000).multicastBlocked = false;
    net.run(500);
    expect(
      net
        .control('r1')
        .view()
        .peers.map(({ via }) => via),
    ).toEqual(['multicast', 'multicast']);
  });

  test('lets nothing through twice, from an earlier session, or from strangers', () => {
    const net = started();
    const { session, counter } = net.host('r2');
    const message = { kind: 'message', at: net.now, via: 'unicast', sender: 'r2', body: new Uint8Array() } as const;
    net.input('r1', { ...message, session, counter });
    net.input('r1', { ...message, session, counter });
    net.input('r1', { ...message, session: session - 1, counter: counter + 9 });
    net.input('r1', { ...message, session, counter: counter + 9, sender: 'r9' });
    net.input('r1', { ...message, session: 99, counter: 1, sender: 'r1' });
    expect(net.control('r1').view().refused).toEqual({
      malformed: 1,
      replayed: 1,
      'old session': 1,
      'not a peer': 1,
      'own name elsewhere': 1,
    });
  });

  test('counts hostile bodies and goes on', () => {
    const net = started();
    for (let length = 0; length < 300; length++) {
      net.deliver(
        'r1',
        'r2',
        Uint8Array.from({ length }, () => Math.floor(net.random() * 256)),
      );
    }
    net.deliver('r1', 'r2', Uint8Array.from([1, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4, 1, 2, 3, 4]));
    expect(net.control('r1').view().refused.malformed).toBeGreaterThanOrEqual(300);
    net.run(1000);
    expect(net.healthy()).toBe(true);
  });

  test('cannot carry more names than fit a datagram', () => {
    const peers = Array.from({ length: 60 }, (_, i) => `a-replica-with-a-long-name-${i}`);
    const { partition } = new VirtualNetwork();
    const config = { node: peers[0] ?? '', peers, voters: peers.slice(0, 3), partition, start: 0 };
    expect(() =>
      createControl({
        ...config,
        durable: null,
        newIncarnation: 1,
        witness: false,
        policy: null,
        session: 1,
        boot: 1,
        mac: '02:00:00:00:00:01',
        rows: new Map(),
        staying: nothingStays,
        udpIdleMs: null,
        routers: [],
      }),
    ).toThrow(OperatingError);
  });
});

describe('leaving', () => {
  test('hands everything off first', () => {
    const net = started();
    net.input('r3', { kind: 'leave', at: net.now });
    const ms = net.runUntil(() => net.accepting('r3').size === 0, 3000);
    expect(ms).toBeLessThan(500);
    net.runUntil(() => !net.host('r3').control, 5000);
    expect(net.served()).toBe(16);
  });

  test('waits for the connections that go on', () => {
    const net = started();
    net.host('r3').holding = new Set(net.accepting('r3'));
    net.input('r3', { kind: 'leave', at: net.now });
    net.run(20_000);
    expect(net.control('r3').view().cause).toBe('leaving: connections of 5 slots may go on');
    expect(net.resets).toEqual([]);
    net.host('r3').holding = new Set();
    net.runUntil(() => !net.host('r3').control, 2000);
  });

  test('waits for them no longer than the drain deadline, and resets them then', () => {
    const net = started({ policy: { strategy: 'equal', handoff: 'forward', drainDeadline: 20 } });
    const slots = net.accepting('r3');
    net.host('r3').holding = slots;
    net.input('r3', { kind: 'leave', at: net.now });
    net.runUntil(() => net.resets.length > 0, 21_000);
    expect(net.resets).toEqual([expect.objectContaining({ node: 'r3', slots })]);
  });

  test('the coordinator leaves too, and the next takes over without a gap', () => {
    const net = started();
    net.input('r1', { kind: 'leave', at: net.now });
    net.runUntil(() => !net.host('r1').control, 6000);
    expect(net.served()).toBe(16);
    net.runUntil(() => net.control('r3').view().coordinator === 'r2', 1000);
    net.run(2000);
    expect(shares(net)).toEqual({ r2: 8, r3: 8 });
    expect(eventsOf(net, 'verdict').filter(({ verdict }) => verdict === 'fenced')).toEqual([]);
  });

  test('alone is at once', () => {
    const net = started({ nodes: ['r1'] });
    net.input('r1', { kind: 'leave', at: net.now });
    expect(net.runUntil(() => !net.host('r1').control, 100)).toBeLessThanOrEqual(10);
  });

  test('of all of them together is at once', () => {
    const net = started();
    for (const name of net.names) net.input(name, { kind: 'leave', at: net.now });
    expect(net.runUntil(() => net.running().length === 0, 1000)).toBeLessThan(200);
  });

  test('takes at most three seconds, and then nothing is accepted', () => {
    const net = started();
    net.block('r3', 'r1');
    net.block('r3', 'r2');
    net.input('r3', { kind: 'leave', at: net.now });
    expect(net.runUntil(() => !net.host('r3').control, 3100)).toBeGreaterThan(1500);
    expect(net.accepting('r3').size).toBe(0);
  });
});

test('timers scale together', () => {
  expect(scaledTimers(2)).toMatchObject({ heartbeatMs: 200, leaseMs: 1000, deadMs: 1600 });
});
