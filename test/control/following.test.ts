import { describe, expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import { decodeDurable } from '../../src/control/durable.ts';
import { Following } from '../../src/control/following.ts';
import { createMembership } from '../../src/control/membership.ts';
import { createRounds } from '../../src/control/rounds.ts';
import { defaultTimers as timers } from '../../src/control/timers.ts';
import { createVoters } from '../../src/control/voters.ts';
import type { Heartbeat } from '../../src/wire/control-message.ts';
import { type Ledger, noVersion } from '../../src/wire/ledger.ts';
import { VirtualNetwork } from './virtual-network.ts';

const standsAt = 2000;
const newer = { term: 4, epoch: 9 };
const free: Heartbeat = {
  ...{ round: 1, term: 4, follow: null, coordinating: false, leaving: false, heard: [], programmed: 0 },
  ...{ held: noVersion, committed: noVersion, basis: noVersion, incarnation: 1, witness: false, boot: 1, routed: 0 },
  ...{ mac: '02:00:00:00:00:01', healthy: true },
};

/** r2, one of these voters, which stands; the others say something to it. */
function candidate(names: readonly string[] = ['r1', 'r2', 'r3']) {
  const voters = names.map((name) => ({ name, incarnation: 1 }));
  const membership = createMembership('r2', names, timers, 0);
  const rounds = createRounds(1, 10_000);
  let held: Ledger | null = null;
  const self = { node: 'r2', incarnation: 1, held: () => held, founders: () => voters };
  const config = { node: 'r2', timers, membership, rounds, held: () => held, start: 0, term: 4, name: null };
  const following = new Following({ ...config, voters: createVoters({ ...self, membership }) });
  let said = 0;
  const say = (name: string, more: Partial<Heartbeat>, at: number) => {
    const heard = [{ name: 'r2', round: rounds.last, multicast: true }];
    const heartbeat = { ...free, round: ++said, term: following.term, heard, ...more };
    membership.hear(name, 1, heartbeat, 'multicast', at);
    following.hear(name, heartbeat, at);
  };
  for (const name of names.slice(2)) say(name, {}, standsAt);
  following.step(standsAt, true);
  expect(following.name).toBe('r2');
  rounds.next(standsAt);
  const adopt = ({ term, epoch }: typeof newer) => {
    held = { ...({} as Ledger), term, epoch, voters, formerVoters: [] };
  };
  return { following, rounds, say, adopt };
}

describe('authority', () => {
  test('is not had by a vote that was withdrawn: the ledger of who gave it would not be looked for', () => {
    const { following, say } = candidate();
    say('r3', { follow: 'r2' }, standsAt + 1);
    expect(following.hasAuthority(standsAt + 2)).toBe(true);
    say('r3', { follow: null }, standsAt + 3);
    expect(following.hasAuthority(standsAt + 4)).toBe(false);
  });

  test('begins when no voter that answers holds a newer ledger any more, which may name other voters', () => {
    const { following, say, adopt } = candidate();
    say('r3', { follow: 'r2', held: newer }, standsAt + 1);
    expect([following.hasAuthority(standsAt + 1), following.authoritySince]).toEqual([false, Number.POSITIVE_INFINITY]);
    adopt(newer);
    say('r3', { follow: 'r2', held: newer }, standsAt + 50);
    expect([following.hasAuthority(standsAt + 50), following.authoritySince]).toEqual([true, standsAt + 50]);
  });

  test('is had without the ledger of a voter that has gone silent, when the others are a majority', () => {
    const { following, rounds, say } = candidate(['r1', 'r2', 'r3', 'r4', 'r5']);
    for (const name of ['r3', 'r4', 'r5'])
      say(name, { follow: 'r2', held: name === 'r3' ? newer : noVersion }, standsAt + 1);
    expect(following.hasAuthority(standsAt + 200)).toBe(false);
    rounds.next(standsAt + 200);
    for (const name of ['r4', 'r5']) say(name, { follow: 'r2' }, standsAt + 201);
    expect(following.hasAuthority(standsAt + timers.authorityMs)).toBe(true);
  });

  test('is not waited for without end when a newer ledger never comes, and who holds that stands first', () => {
    const { following, rounds, say } = candidate();
    let now = standsAt;
    for (; now < standsAt + timers.deadMs; now += 100) {
      rounds.next(now);
      say('r3', { follow: 'r2', held: newer }, now);
      following.step(now, true);
      expect(following.name).toBe('r2');
    }
    following.step(now, true);
    expect(following.name).toBe(null);
    say('r3', { held: newer }, now + 1);
    following.step(now + timers.standAfterMs - 1, true);
    expect(following.name).toBe(null);
    following.step(now + timers.standAfterMs, true);
    expect(following.name).toBe('r2');
  });
});

test('no lease is granted on a ledger that a coordinator found, before a majority has stored it in its term', () => {
  const net = new VirtualNetwork({ nodes: ['r1', 'r2', 'r3', 'r4'], voters: ['r1', 'r2', 'r3'], delayMs: [1, 1] });
  net.start().runUntil(() => net.healthy() && net.accepting('r4').size === 4, 5000);
  net.run(1500);
  const stored = (name: string) => {
    const durable = decodeDurable(defined(net.host(name).disk, 'a disk'));
    return defined(durable.ok ? durable.value : null, 'what is stored');
  };
  const supports = (name: string, other: string): boolean => stored(name).follow === other;
  const until = (condition: () => boolean): void => {
    for (let i = 0; !condition() && i < 1000; i++) net.run(1);
    expect(condition()).toBe(true);
  };
  // r1 coordinates, gives the share of r4 away, and nobody else hears of it.
  net.cut('r1', 'r4');
  net.run(700);
  net.cut('r1', 'r2', 'r3');
  // r2 is elected by r3, and what it says then reaches r4 alone.
  until(() => supports('r2', 'r2'));
  net.block('r2', 'r3');
  expect(['r1', 'r3'].map((name) => stored(name).ledger?.epoch)).toEqual([2, 1]);
  until(() => supports('r3', 'r2'));
  net.run(240);
  net.healAll();
  net.cut('r1', 'r2', 'r4');
  net.cut('r2', 'r3');
  // At every step the network checks that each slot has one kernel.
  until(() => supports('r3', 'r1'));
  net.run(1000);
  expect(net.accepting('r1').size + net.accepting('r3').size).toBe(16);
});

test('what was asked of a coordinator while it lost its office is not done when it has it again', () => {
  const net = new VirtualNetwork().start();
  net.runUntil(() => net.healthy(), 5000);
  const ask = (name: string, kind: 'drain' | 'undrain', who: string) =>
    net.input(name, { kind: 'propose', at: net.now, change: { kind, name: who } });
  for (const other of ['r2', 'r3']) net.block('r1', other);
  // r1 has something to commit, and cannot; so it takes up nothing else.
  ask('r1', 'drain', 'r2');
  net.run(20);
  ask('r2', 'drain', 'r3');
  net.runUntil(() => net.accepting('r2').size === 16, 6000);
  ask('r2', 'undrain', 'r3');
  net.runUntil(() => net.accepting('r3').size === 8, 1000);
  net.run(6000);
  net.healAll();
  net.runUntil(() => net.healthy(), 6000);
  net.crash('r2');
  net.runUntil(() => net.control('r1').view().coordinator === 'r1' && net.healthy(['r1', 'r3']), 3000);
  net.run(1000);
  expect(net.accepting('r3').size).toBe(8);
});

test('of those that are left by their coordinator at nearly the same instant, the first stands alone', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const net = new VirtualNetwork({ nodes: ['r1', 'r2', 'r3', 'r4', 'r5'], seed }).start();
    net.runUntil(() => net.healthy(), 3000);
    net.run(1000);
    net.crash('r1');
    net.run(450);
    expect([seed, net.control('r5').view().coordinator]).toEqual([seed, 'r2']);
  }
});
