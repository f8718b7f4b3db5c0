import { expect, test } from 'vitest';
import type { Change } from '../../src/control/change.ts';
import type { Policy } from '../../src/policy/index.ts';
import { JoinLink } from './joined-router.ts';
import { VirtualNetwork } from './virtual-network.ts';

/**
 * Faults that the protocol holds against: crashed hosts (whose kernels go with them), restarts, lost, doubled, late and overtaken
 * datagrams, cuts between any two agents in one or both directions, a multicast that does not get through, leaving agents, agents that
 * are killed or stopped while their kernel goes on, the loss of a voter's disk, lists of revoked certificates that some have and others not. Not here: clocks that run at different speeds, by more than the
 * 300 ms between `leaseMs` and `deadMs` allow.
 */
const seeds = Number(process.env.CONTROL_SEEDS ?? 200);
const firstSeed = Number(process.env.CONTROL_SEED ?? 1);

test.each(parts(10))('no slot has two kernels, whatever happens: part %i', (part) => surviveAll(part, []));

/** Routers start anew too, and joins and what routers ask get lost. */
test.each(parts(5))('nor behind routers, whatever happens to those: part %i', (part) => {
  surviveAll(part, ['e1', 'e2']);
});

function parts(count: number): number[] {
  return Array.from({ length: count }, (_, part) => part);
}

function surviveAll(part: number, routerNames: readonly string[]): void {
  const each = Math.ceil(seeds / 10);
  for (let seed = firstSeed + part * each; seed < firstSeed + (part + 1) * each; seed++) survive(seed, routerNames);
}

function survive(seed: number, routerNames: readonly string[]): void {
  const net = networkOf(seed, routerNames);
  const link = new JoinLink(net, routerNames);
  try {
    for (const name of net.names) {
      net.start(name);
      net.run(net.random() * (net.random() < 0.5 ? 20 : 600));
    }
    for (let step = 0; step < 12; step++) {
      disturb(net, link);
      net.run(net.random() * (net.random() < 0.5 ? 100 : 1200));
    }
    link.loses = () => false;
    calm(net);
    net.runUntil(() => net.healthy() && link.isServed(), 8000);
    // What was proposed before is done by then.
    net.run(500);
    net.runUntil(() => net.control('n1').view().holders.length === 0, 8000);
    net.runUntil(() => net.healthy() && link.isServed(), 1000);
    const epoch = net.control('n1').view().epoch;
    net.run(1500);
    // Without faults nothing moves.
    expect(net.control('n1').view().epoch).toBe(epoch);
    expect(net.healthy()).toBe(true);
    expel(net);
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/** Where the others can go on without it, the last voter is revoked: they serve everything, and it has neither share nor vote. */
function expel(net: VirtualNetwork): void {
  const { voters } = net.control('n1').view();
  const last = voters.at(-1)?.name;
  if (last === undefined || voters.length < 3) return;
  for (const name of net.names) net.revoke(name, [last]);
  const others = net.names.filter((name) => name !== last);
  net.runUntil(
    () =>
      net.healthy(others) &&
      others.every((name) => {
        const view = net.control(name).view();
        return !view.members.includes(last) && !view.voters.some((voter) => voter.name === last);
      }),
    8000,
  );
  expect(net.accepting(last).size).toBe(0);
}

function networkOf(seed: number, routers: readonly string[]): VirtualNetwork {
  const count = 2 + (seed % 4);
  const nodes = Array.from({ length: count }, (_, i) => `n${i + 1}`);
  const slow = seed % 3 === 0;
  return new VirtualNetwork({
    seed,
    nodes,
    ...(routers.length > 0 && { routers }),
    voters: nodes.slice(0, seed % 5 === 0 ? 1 : Math.min(count, 3 + (seed % 2) * 2)),
    loss: [0, 0.02, 0.15][seed % 3] ?? 0,
    duplication: 0.05,
    delayMs: slow ? [0, 45] : [0, 5],
    kernelMs: slow ? [0, 125] : [0, 20],
    latenessMs: slow ? [0, 40] : [0, 5],
  });
}

function disturb(net: VirtualNetwork, link: JoinLink): void {
  const name = net.pick(net.names);
  const running = net.host(name).control !== null;
  const actions: readonly (() => void)[] = [
    () => net.crash(name),
    () => forget(net, name),
    () => net.kill(name),
    () => net.stop(name, net.random() * 3000),
    () => running || net.start(name),
    () => running || net.start(name),
    () => net.block(name, net.pick(net.names)),
    () => net.isolate(name),
    () => net.healAll(),
    () => net.healAll(),
    () => {
      net.multicastBlocked = !net.multicastBlocked;
    },
    () => net.input(name, { kind: 'propose', at: net.now, change: { kind: 'policy', policy: anyPolicy(net) } }),
    () => net.input(name, { kind: 'propose', at: net.now, change: { kind: 'policy', policy: anyPolicy(net) } }),
    () => net.input(name, { kind: 'propose', at: net.now, change: anyChange(net) }),
    () => leave(net, name),
    () => revokeSomewhere(net, name),
    () => revokeEverywhere(net, name),
    ...(link.routers.length > 0 ? [() => net.pick(link.routers).restart(), () => loseJoins(net, link)] : []),
  ];
  net.pick(actions)();
}

function loseJoins(net: VirtualNetwork, link: JoinLink): void {
  const chance = net.pick([0, 0.5, 1]);
  link.loses = () => net.random() < chance;
}

/**
 * Whoever is revoked, and written out of the voters, is missed by a voter that is to be seated anew; and voters that all leave have nobody to coordinate in the place of
 * one that is revoked.
 */
function mayRevoke(net: VirtualNetwork): boolean {
  return !net.forgotten && net.running().every((name) => net.control(name).view().verdict !== 'leaving');
}

function revokeSomewhere(net: VirtualNetwork, name: string): void {
  if (mayRevoke(net)) net.revoke(name, net.random() < 0.3 ? [] : [net.pick(net.names)]);
}

/** All of them, itself included, learn at once that it is revoked, as far as their agents run. */
function revokeEverywhere(net: VirtualNetwork, name: string): void {
  if (mayRevoke(net)) for (const each of net.names) net.revoke(each, [name]);
}

function leave(net: VirtualNetwork, name: string): void {
  if (net.names.every((each) => net.host(each).revoked.length === 0)) net.input(name, { kind: 'leave', at: net.now });
}

/** A voter's disk is lost, once in a run and where the others can still seat it anew. */
function forget(net: VirtualNetwork, name: string): void {
  const views = net.running().map((each) => net.control(each).view());
  const seated = views.every(({ voters }) => voters.length >= 3 && voters.every(({ state }) => state !== 'forgetful'));
  if (views.length < 2 || !seated || net.names.some((each) => net.host(each).session > 1 && !net.host(each).disk))
    return;
  if (net.forgotten || net.names.some((each) => net.host(each).revoked.length > 0)) return;
  net.forgotten = true;
  net.crash(name);
  net.loseDisk(name);
}

function anyChange(net: VirtualNetwork): Change {
  const name = net.pick(net.names);
  const slots = Array.from({ length: net.partition.slotCount }, (_, slot) => slot).filter(() => net.random() < 0.3);
  return net.pick<Change>([
    { kind: 'drain', name },
    { kind: 'undrain', name },
    { kind: 'move', name, slots: slots.length > 0 ? slots : [0] },
    { kind: 'voters', name, instead: null },
    { kind: 'voters', name: null, instead: name },
    { kind: 'voters', name, instead: net.pick(net.names) },
  ]);
}

function anyPolicy(net: VirtualNetwork): Policy {
  const weights = Object.fromEntries(net.names.map((name) => [name, Math.floor(net.random() * 4)]));
  return net.random() < 0.3
    ? { strategy: 'equal', handoff: 'reset', drainDeadline: 60 }
    : { strategy: 'weighted', handoff: 'reset', drainDeadline: 60, weights };
}

/** Everybody is there, and the network does what it should. */
function calm(net: VirtualNetwork): void {
  net.healAll();
  net.multicastBlocked = false;
  net.loss = 0;
  for (const name of net.names) net.revoke(name, []);
  // Whoever was stopped goes on by then, and whoever leaves has left.
  net.run(6400);
  for (const name of net.names) if (!net.host(name).control) net.start(name);
  net.runUntil(() => net.running().every((name) => net.control(name).view().verdict !== 'leaving'), 12_000);
  for (const name of net.names) if (!net.host(name).control) net.start(name);
}
