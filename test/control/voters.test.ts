import { describe, expect, test } from 'vitest';
import type { Change } from '../../src/control/change.ts';
import { decodeDurable, encodeDurable } from '../../src/control/durable.ts';
import type { ControlEvent } from '../../src/control/io.ts';
import { VirtualNetwork, type VirtualOptions } from './virtual-network.ts';

function started(options: VirtualOptions = {}): VirtualNetwork {
  const net = new VirtualNetwork(options).start();
  net.runUntil(() => net.healthy(), 3000);
  return net;
}

function ask(net: VirtualNetwork, name: string, change: Change): void {
  net.input(name, { kind: 'propose', at: net.now, change });
}

function votersOf(net: VirtualNetwork, name: string): string[] {
  return net
    .control(name)
    .view()
    .voters.map((each) => (each.state === 'heard' ? each.name : `${each.name} ${each.state}`));
}

function outcomes(net: VirtualNetwork): string[] {
  return net.events.flatMap(({ event }) => {
    if (event.kind !== 'proposal') return [];
    const { title, outcome, reason } = event as ControlEvent & { kind: 'proposal' };
    return [`${title}: ${outcome}${reason ? `, ${reason}` : ''}`];
  });
}

describe('a cluster', () => {
  test('is begun by one agent alone; the others join it, and vote once they are told to', () => {
    const net = new VirtualNetwork({ voters: [] }).start();
    net.run(3000);
    expect(net.served()).toBe(0);
    expect(net.control('r1').view().cause).toBe(
      'waiting: no cluster heard yet; a new one begins with "manycast cluster init" on one replica',
    );
    net.input('r2', { kind: 'found', at: net.now });
    net.runUntil(() => net.healthy() && net.accepting('r3').size === 5, 4000);
    expect(votersOf(net, 'r1')).toEqual(['r2']);
    for (const name of ['r1', 'r3']) {
      ask(net, 'r3', { kind: 'voters', name, instead: null });
      net.runUntil(() => ['r2', 'r3'].every((each) => votersOf(net, each).includes(name)), 1000);
    }
    expect(votersOf(net, 'r3')).toEqual(['r1', 'r2', 'r3']);
    net.runUntil(() => outcomes(net).length === 3, 100);
    expect(outcomes(net)).toEqual(['init: adopted', 'voters add r1: adopted', 'voters add r3: adopted']);
  });

  test('is not begun twice', () => {
    const net = started();
    net.input('r3', { kind: 'found', at: net.now });
    expect(outcomes(net)).toEqual([
      expect.stringMatching(/^init: refused, this replica is in a cluster already, at epoch \d+$/),
    ]);
  });
});

describe('who votes', () => {
  test('changes while one of three is dead, and the new one counts', () => {
    const net = started({ nodes: ['r1', 'r2', 'r3', 'r4'], voters: ['r1', 'r2', 'r3'] });
    net.crash('r3');
    ask(net, 'r2', { kind: 'voters', name: 'r4', instead: 'r3' });
    net.runUntil(() => votersOf(net, 'r4').join() === 'r1,r2,r4', 3000);
    net.runUntil(() => net.healthy(), 3000);
    net.crash('r1');
    net.runUntil(() => net.healthy(), 3000);
    expect(net.served()).toBe(16);
  });

  test('is not changed so that those who are left could not go on', () => {
    const net = started({ nodes: ['r1', 'r2', 'r3', 'r4'], voters: ['r1', 'r2', 'r3'] });
    net.crash('r3');
    net.runUntil(() => net.healthy(), 3000);
    ask(net, 'r1', { kind: 'voters', name: null, instead: 'r2' });
    net.runUntil(() => outcomes(net).length > 0, 6000);
    expect(outcomes(net)).toEqual(['voters remove r2: refused, the coordinator did not take it up']);
    expect(votersOf(net, 'r1')).toEqual(['r1', 'r2', 'r3 silent']);
  });

  test.each<[Change, string]>([
    [{ kind: 'voters', name: 'r2', instead: null }, '"r2" votes already'],
    [{ kind: 'voters', name: null, instead: 'r4' }, '"r4" is no voter, allowed are r1, r2, r3'],
    [{ kind: 'drain', name: 'r9' }, '"r9" is no member, allowed are r1, r2, r3'],
    [{ kind: 'voters', name: 'r9', instead: null }, '"r9" is not in control.peers, allowed are r1, r2, r3'],
  ])('is refused with the reason: %o', (change, reason) => {
    const net = started();
    ask(net, 'r1', change);
    expect(outcomes(net)).toEqual([expect.stringContaining(`refused, ${reason}`)]);
  });

  test.each([0, 60, 150, 240])(
    'has one coordinator, when a voter is replaced by one that is on the other side of a cut, begun %i ms before',
    (ms) => {
      const net = started({ nodes: ['r1', 'r2', 'r3', 'r4'], voters: ['r1', 'r2', 'r3'], seed: 3 });
      net.run(1500);
      for (const near of ['r1', 'r4']) net.cut(near, 'r2', 'r3');
      net.run(ms);
      ask(net, 'r1', { kind: 'voters', name: 'r4', instead: 'r3' });
      // At every step the network checks that each slot has one owner.
      net.run(3000);
      expect(net.accepting('r1').size + net.accepting('r4').size).toBe(0);
      expect(net.accepting('r2').size + net.accepting('r3').size).toBe(16);
      net.healAll();
      expect(net.runUntil(() => net.healthy(), 5000)).toBeLessThan(5000);
    },
  );

  test('a coordinator that votes no more makes room', () => {
    const net = started({ nodes: ['r1', 'r2', 'r3', 'r4'] });
    ask(net, 'r4', { kind: 'voters', name: null, instead: 'r1' });
    net.runUntil(() => net.control('r4').view().coordinator === 'r2' && net.healthy(), 3000);
    expect(votersOf(net, 'r1')).toEqual(['r2', 'r3', 'r4']);
  });
});

describe('a voter that has lost its memory', () => {
  test('counts again only once the others have seated it anew', () => {
    const net = started();
    net.crash('r3');
    net.loseDisk('r3');
    net.run(500);
    net.start('r3');
    net.runUntil(() => net.healthy() && votersOf(net, 'r3').join() === 'r1,r2,r3', 4000);
    net.crash('r2');
    net.runUntil(() => net.healthy(), 4000);
  });

  test('is of no use to a minority: what only the two others knew is not decided without them', () => {
    const net = started();
    net.isolate('r2');
    net.run(2000);
    const { epoch } = net.control('r1').view();
    // r1 and r3 know of an epoch that r2 does not. r3 forgets it, and r1 is gone.
    net.crash('r1');
    net.crash('r3');
    net.loseDisk('r3');
    net.healAll();
    net.start('r3');
    net.run(10_000);
    expect(epoch).toBeGreaterThan(net.control('r2').view().epoch);
    expect(net.served()).toBe(0);
    net.start('r1');
    net.runUntil(() => net.healthy(), 5000);
    expect(net.control('r2').view().epoch).toBeGreaterThan(epoch);
  });
});

test('a witness votes and has no share; with it two replicas survive the loss of one', () => {
  const net = started({ nodes: ['r1', 'r2', 'w1'], witnesses: ['w1'] });
  expect([net.accepting('r1').size, net.accepting('r2').size, net.accepting('w1').size]).toEqual([8, 8, 0]);
  net.crash('r1');
  net.runUntil(() => net.accepting('r2').size === 16, 3000);
});

test('what an agent must not forget is read as it was written, and damage is noticed', () => {
  const durable = { incarnation: 5, founders: [{ name: 'r1', incarnation: 5 }], term: 7, follow: 'r2', ledger: null };
  const encoded = encodeDurable(durable);
  expect(decodeDurable(encoded)).toEqual({ ok: true, value: durable });
  for (let at = 0; at < encoded.length; at++) {
    const damaged = encoded.slice();
    damaged[at] = (damaged[at] ?? 0) ^ 0x10;
    expect(decodeDurable(damaged)).toEqual({ ok: false, reason: 'its checksum is wrong' });
    expect(decodeDurable(encoded.subarray(0, at)).ok).toBe(false);
  }
});
