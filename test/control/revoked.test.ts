import { describe, expect, test } from 'vitest';
import { defaultTimers } from '../../src/control/timers.ts';
import type { Policy } from '../../src/policy/index.ts';
import { VirtualNetwork, type VirtualOptions } from './virtual-network.ts';

const { leaseMs, deadMs, silenceMs, takeoverMs } = defaultTimers;
const reset: Policy = { strategy: 'equal', handoff: 'reset', drainDeadline: 60 };

function started(options: VirtualOptions = {}): VirtualNetwork {
  const net = new VirtualNetwork({ policy: reset, ...options }).start();
  net.runUntil(() => net.healthy(), 3000);
  // Whoever coordinates gives nothing away before it has done so for a while.
  net.run(takeoverMs);
  return net;
}

function everywhere(net: VirtualNetwork, ...names: string[]): void {
  for (const each of net.names) net.revoke(each, names);
}

/** The others serve everything without it. */
function isOut(net: VirtualNetwork, name: string): boolean {
  const others = net.names.filter((each) => each !== name && net.host(each).control);
  const members = others.flatMap((each) => net.control(each).view().members);
  return net.healthy(others) && net.accepting(name).size === 0 && !members.includes(name);
}

const votersOf = (net: VirtualNetwork, name: string): string[] =>
  net
    .control(name)
    .view()
    .voters.map((each) => each.name);
const coordinatorOf = (net: VirtualNetwork, name: string): string | null => net.control(name).view().coordinator;

describe('a member that is revoked', () => {
  test('gets no grant: its lease ends, and then its slots are given away, while its agent goes on', () => {
    const net = started({ nodes: ['r1', 'r2', 'r3', 'r4'], voters: ['r1', 'r2', 'r3'] });
    expect(net.accepting('r4').size).toBe(4);
    everywhere(net, 'r4');
    const begin = net.now;
    net.runUntil(() => net.accepting('r4').size === 0, leaseMs);
    // Nobody takes them before every lease it may have had is over, even by a slower clock.
    while (net.now < begin + deadMs - 100) {
      expect(net.served()).toBeLessThanOrEqual(16);
      expect(net.control('r1').view().members).toContain('r4');
      net.run(5);
    }
    net.runUntil(() => isOut(net, 'r4'), 1000);
    const views = net.events.flatMap(({ node, event }) =>
      node === 'r1' && event.kind === 'ledger' ? [event.cause] : [],
    );
    expect(views).toContain('r4 revoked');
    expect(net.control('r1').view().peers).toContainEqual({ name: 'r4', state: 'revoked', via: null });
    const { epoch } = net.control('r1').view();
    net.run(3000);
    expect(net.control('r1').view()).toMatchObject({ epoch, members: ['r1', 'r2', 'r3'] });
  });

  test('holds nothing that anybody waits for: its slots are settled at once', () => {
    const net = started({ nodes: ['r1', 'r2', 'r3', 'r4'], voters: ['r1', 'r2', 'r3'] });
    net.host('r4').holding = new Set(net.accepting('r4'));
    everywhere(net, 'r4');
    net.runUntil(() => isOut(net, 'r4') && net.control('r1').view().holders.length === 0, 2000);
  });

  test('has its share again with a new certificate', () => {
    const net = started({ nodes: ['r1', 'r2', 'r3', 'r4'], voters: ['r1', 'r2', 'r3'] });
    everywhere(net, 'r4');
    net.runUntil(() => isOut(net, 'r4'), 2000);
    everywhere(net);
    net.runUntil(() => net.healthy() && net.accepting('r4').size === 4, 3000);
  });

  test('is refused what it asks for', () => {
    const net = started();
    everywhere(net, 'r3');
    net.input('r3', { kind: 'propose', at: net.now, change: { kind: 'drain', name: 'r2' } });
    net.runUntil(() => isOut(net, 'r3'), 2000);
    net.run(6000);
    expect(net.control('r1').view()).toMatchObject({ drained: [], refused: { revoked: expect.any(Number) as number } });
  });
});

describe('a voter that is revoked', () => {
  test('is written out of the voters, and those who are left do without one more', () => {
    const net = started({ nodes: ['r1', 'r2', 'r3', 'r4'] });
    everywhere(net, 'r4');
    net.runUntil(() => isOut(net, 'r4') && votersOf(net, 'r1').join() === 'r1,r2,r3', 3000);
    net.crash('r1');
    net.runUntil(() => net.healthy(['r2', 'r3']), 3000);
  });

  test('has no say at once, and is no part of a majority', () => {
    const net = started();
    net.crash('r2');
    net.runUntil(() => net.healthy(['r1', 'r3']), 3000);
    const coordinator = coordinatorOf(net, 'r1');
    const other = coordinator === 'r1' ? 'r3' : 'r1';
    everywhere(net, other);
    expect(coordinatorOf(net, coordinator ?? '')).toBe(null);
    net.run(5000);
    // Two of three voters are not there: it is for the third to come back.
    expect(net.served()).toBe(0);
    net.start('r2');
    net.runUntil(() => net.healthy([coordinator ?? '', 'r2']), 3000);
    expect(votersOf(net, 'r2')).not.toContain(other);
  });

  test('and coordinates loses its followers, and another coordinates', () => {
    const net = started();
    const coordinator = coordinatorOf(net, 'r2') ?? '';
    const others = net.names.filter((name) => name !== coordinator);
    for (const name of others) net.revoke(name, [coordinator]);
    net.run(silenceMs);
    expect(coordinatorOf(net, coordinator)).toBe(null);
    net.runUntil(() => isOut(net, coordinator), 4000);
    expect(others).toContain(coordinatorOf(net, others[0] ?? ''));
    net.run(3000);
    expect(net.accepting(coordinator).size).toBe(0);
    expect(votersOf(net, others[0] ?? '')).toEqual(others);
  });

  test('makes room when it learns of it itself', () => {
    const net = started();
    const coordinator = coordinatorOf(net, 'r2') ?? '';
    net.revoke(coordinator, [coordinator]);
    net.runUntil(() => ![coordinator, null].includes(coordinatorOf(net, coordinator === 'r2' ? 'r3' : 'r2')), 3000);
  });
});
