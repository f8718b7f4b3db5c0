import { describe, expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import { JoinLink } from './joined-router.ts';
import { VirtualNetwork, type VirtualOptions } from './virtual-network.ts';

/** Of the agents, and of the routers' words: a join is missed for a second before it is said again. */
const healedMs = 4000;

function behindRouters(options: VirtualOptions = {}): { readonly net: VirtualNetwork; readonly link: JoinLink } {
  const net = new VirtualNetwork({ routers: ['e1', 'e2'], ...options });
  const link = new JoinLink(net, ['e1', 'e2']);
  net.start().runUntil(() => net.healthy() && link.isServed(), 10_000);
  net.run(3000);
  return { net, link };
}

function move(net: VirtualNetwork, by: string, to: string, slots: readonly number[]): void {
  net.input(by, { kind: 'propose', at: net.now, change: { kind: 'move', name: to, slots } });
}

/** The first that `owner` has. */
function slotOf(net: VirtualNetwork, owner: string): number {
  return net.control('r1').view().owners.indexOf(owner);
}

describe('joins that routers do not hear', () => {
  test('are said again: of those that take over from a dead replica', () => {
    const { net, link } = behindRouters();
    link.loses = (router) => router === 'e2';
    net.crash('r3');
    net.run(3000);
    expect(link.isServed()).toBe(false);
    link.loses = () => false;
    net.runUntil(() => link.isServed(), healedMs);
  });

  test('are said again: of the new owner in a move, which goes on', () => {
    const { net, link } = behindRouters();
    link.loses = (router, member) => router === 'e2' && member === 'r1';
    move(net, 'r1', 'r1', [slotOf(net, 'r2')]);
    net.run(5000);
    expect(net.control('r1').view().moves).toHaveLength(1);
    link.loses = () => false;
    net.runUntil(() => net.healthy() && link.isServed(), healedMs);
  });

  test('are said again: to a router that starts anew and whose questions get lost', () => {
    const { net, link } = behindRouters();
    const [, second] = link.routers;
    link.loses = (router) => router === 'e2';
    defined(second, 'e2').restart();
    net.run(6000);
    expect(link.isServed()).toBe(false);
    link.loses = () => false;
    net.runUntil(() => link.isServed(), healedMs);
  });

  test('leave the slots with their owner, for as long as nobody else joins for them', () => {
    const { net, link } = behindRouters();
    link.loses = (_router, member) => member === 'r1';
    move(net, 'r1', 'r1', [slotOf(net, 'r2')]);
    for (const end = net.now + 60_000; net.now < end; net.run(100)) expect(link.isServed()).toBe(true);
    expect(net.control('r1').view().moves).toMatchObject([{ phase: 'leave', from: 'r2', to: 'r1' }]);
  });

  test('a move by hand of what another is leaving writes no ledgers, and says that it was not taken up', () => {
    const { net, link } = behindRouters();
    link.loses = (_router, member) => member === 'r1';
    const slots = [slotOf(net, 'r2')];
    move(net, 'r1', 'r1', slots);
    net.run(2000);
    const { epoch } = net.control('r1').view();
    move(net, 'r2', 'r3', slots);
    net.run(8000);
    expect(net.control('r1').view().epoch).toBe(epoch);
    expect(net.events.at(-1)?.event).toMatchObject({ kind: 'proposal', outcome: 'refused' });
  });
});

test('a replica that died when it had joined, while the owner could not follow, gets nothing of what it joined for', () => {
  const policy = {
    strategy: 'weighted',
    weights: { r1: 1, r2: 1, r3: 0 },
    handoff: 'forward',
    drainDeadline: 3600,
  } as const;
  const { net, link } = behindRouters({ policy });
  move(net, 'r1', 'r3', [slotOf(net, 'r2')]);
  net.runUntil(() => net.control('r1').view().moves[0]?.phase === 'leave', 1000);
  net.jam('r2');
  net.run(100);
  net.crash('r3');
  net.runUntil(() => ['r1', 'r2'].every((name) => net.control(name).view().moves.length === 0), 2000);
  net.jam('r2', false);
  net.runUntil(() => link.isServed(), healedMs);
});

test('a host that starts anew does not take what it had left, whoever has heard that it has', () => {
  const nodes = ['r1', 'r2', 'r3', 'r4', 'r5'];
  const { net, link } = behindRouters({ nodes, voters: ['r1', 'r2', 'r3'], kernelMs: [1, 2], seed: 3 });
  const slot = slotOf(net, 'r4');
  move(net, 'r1', 'r5', [slot]);
  for (const end = net.now + 1000; net.host('r4').rows.get(slot)?.kind !== 'old'; net.run(0.2))
    expect(net.now).toBeLessThan(end);
  // The coordinator does not hear it, the next one does.
  net.block('r4', 'r1');
  link.loses = () => true;
  for (const router of link.routers) router.restart();
  net.run(12);
  net.crash('r4');
  net.healAll();
  net.cut('r4', 'r2', 'r3');
  net.run(400);
  net.start('r4');
  net.run(5000);
  net.cut('r1', 'r2', 'r3', 'r5');
  net.run(3000);
});
