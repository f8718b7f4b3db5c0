import { expect, test } from 'vitest';
import { Following } from '../../src/control/following.ts';
import { createMembership } from '../../src/control/membership.ts';
import { createRounds } from '../../src/control/rounds.ts';
import { Succession } from '../../src/control/succession.ts';
import { defaultTimers as timers } from '../../src/control/timers.ts';
import { createVoters } from '../../src/control/voters.ts';
import type { Heartbeat } from '../../src/wire/control-message.ts';
import { noVersion } from '../../src/wire/ledger.ts';

const names = ['r1', 'r2', 'r3'];
const voters = names.map((name) => ({ name, incarnation: 1 }));
const formerTerm = 4;
const unknown = timers.takeoverMs;
const known = timers.deadMs - timers.silenceMs;

/** r2 that coordinates in the term after `formerTerm`, as r3 supports it, who hears `heard`. Times of `waitFor` count from when it does. */
function elected(heard: readonly string[], from = 2000) {
  const membership = createMembership('r2', names, timers, 0);
  const rounds = createRounds(1, 10_000);
  const founders = () => voters;
  const config = { node: 'r2', timers, membership, voters: createVoters({ ...self(), membership, founders }) };
  const following = new Following({ ...config, rounds, start: 0, term: formerTerm, name: null });
  const succession = new Succession({ ...config, following });
  let said = 0;
  const hear = (sender: string, more: Partial<Heartbeat>, at: number) => {
    said++;
    const round = rounds.last;
    const list = ['r2', ...heard].map((name) => ({ name, round, multicast: true }));
    const heartbeat = { ...silent, round: said, term: following.term, heard: list, ...more };
    membership.hear(sender, 1, heartbeat, 'multicast', at);
    following.hear(sender, heartbeat, at);
  };
  hear('r1', { follow: null }, from - timers.silenceMs);
  hear('r3', { follow: null }, from);
  following.step(from, true);
  rounds.next(from);
  const supported = (at: number) => hear('r3', { follow: 'r2' }, at);
  supported(from);
  expect([following.term, following.authoritySince]).toEqual([formerTerm + 1, from]);
  const waitFor = (name: string) => succession.leasesOverAt(name) - from;
  return { now: from, hear, following, succession, waitFor };
}

const self = () => ({ node: 'r2', incarnation: 1, held: () => null });
const silent: Heartbeat = {
  ...{ round: 1, term: formerTerm, follow: null, coordinating: false, leaving: false, heard: [], programmed: 0 },
  ...{ held: noVersion, committed: noVersion, basis: noVersion, incarnation: 1, witness: false, boot: 1, routed: 0 },
  ...{ mac: '02:00:00:00:00:01', healthy: true },
};

test('the coordinator before this one, which no supporter has heard for long, is waited for less than others', () => {
  const { succession, waitFor, now } = elected([]);
  expect(waitFor('r1')).toBe(unknown);
  succession.note({ by: 'r1', term: formerTerm }, now);
  expect(waitFor('r1')).toBe(known);
  expect(waitFor('r3')).toBe(unknown);
});

test('one that a supporter still heard may have got leases until then', () => {
  const { succession, waitFor, now } = elected(['r1']);
  succession.note({ by: 'r1', term: formerTerm }, now);
  expect(waitFor('r1')).toBe(unknown);
});

test('one that this agent heard itself may have, too', () => {
  const { succession, waitFor, hear, now } = elected([]);
  hear('r1', { follow: null }, now);
  succession.note({ by: 'r1', term: formerTerm }, now);
  expect(waitFor('r1')).toBe(unknown);
});

test.each([
  ['an earlier term, as somebody else may have coordinated since', { by: 'r1', term: formerTerm - 1 }],
  ['an earlier life of this agent', { by: 'r2', term: formerTerm }],
])('nothing more is known of %s', (_, adopted) => {
  const { succession, waitFor, now } = elected([]);
  succession.note(adopted, now);
  expect(waitFor(adopted.by)).toBe(unknown);
});

test('what was known of one is no longer in the next term', () => {
  const { succession, waitFor, hear, following, now } = elected([]);
  succession.note({ by: 'r1', term: formerTerm }, now);
  hear('r3', { follow: null, term: formerTerm + 2 }, now + 1);
  following.step(now + 1, true);
  expect(following.term).toBe(formerTerm + 3);
  expect(waitFor('r1')).toBe(Number.POSITIVE_INFINITY);
});
