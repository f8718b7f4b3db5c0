import { describe, expect, test } from 'vitest';
import { Following } from '../../src/control/following.ts';
import { createMembership } from '../../src/control/membership.ts';
import { createRounds } from '../../src/control/rounds.ts';
import { type Adopted, Succession } from '../../src/control/succession.ts';
import { defaultTimers as timers } from '../../src/control/timers.ts';
import { createVoters } from '../../src/control/voters.ts';
import type { Heartbeat } from '../../src/wire/control-message.ts';
import { noVersion } from '../../src/wire/ledger.ts';

const formerTerm = 4;
const electedAt = 2000;
const fullWait = timers.takeoverMs;
const shortWait = timers.deadMs - timers.silenceMs;

const silent: Heartbeat = {
  ...{ round: 1, term: formerTerm, follow: null, coordinating: false, leaving: false, heard: [], programmed: 0 },
  ...{ held: noVersion, committed: noVersion, basis: noVersion, incarnation: 1, witness: false, boot: 1, routed: 0 },
  ...{ mac: '02:00:00:00:00:01', healthy: true },
};

interface Election {
  readonly names?: readonly string[];
  /** By supporter: whom it lists besides r2. */
  readonly lists?: Readonly<Record<string, readonly string[]>>;
  /** Who lives since then. */
  readonly bornAt?: number;
}

/** r2, which coordinates in the term after `formerTerm` from `electedAt` on: r1 is silent, all others support it. */
function elected({ names = ['r1', 'r2', 'r3'], lists = {}, bornAt = 0 }: Election = {}) {
  const voters = names.map((name) => ({ name, incarnation: 1 }));
  const membership = createMembership('r2', names, timers, 0);
  const rounds = createRounds(1, 10_000);
  const self = { node: 'r2', incarnation: 1, held: () => null, founders: () => voters };
  const config = { node: 'r2', timers, membership, voters: createVoters({ ...self, membership }) };
  const following = new Following({ ...config, rounds, held: () => null, start: 0, term: formerTerm, name: null });
  const succession = new Succession({ ...config, following });
  let said = 0;
  const hear = (sender: string, more: Partial<Heartbeat>, at: number) => {
    const heard = ['r2', ...(lists[sender] ?? [])].map((name) => ({ name, round: rounds.last, multicast: true }));
    const heartbeat = { ...silent, round: ++said, term: following.term, heard, ...more };
    membership.hear(sender, at < bornAt ? 1 : 2, heartbeat, 'multicast', at);
    following.hear(sender, heartbeat, at);
  };
  const others = names.slice(2);
  for (const at of [electedAt - 2 * timers.silenceMs, electedAt]) for (const name of others) hear(name, {}, at);
  following.step(electedAt, true);
  rounds.next(electedAt);
  for (const name of others) hear(name, { follow: 'r2' }, electedAt);
  expect([following.term, following.authoritySince]).toEqual([formerTerm + 1, electedAt]);
  const ledger: Adopted = { by: 'r1', term: formerTerm, voters, formerVoters: [] };
  return { hear, following, succession, ledger, waitFor: (name: string) => succession.leasesOverAt(name) - electedAt };
}

describe('the coordinator before this one', () => {
  test('is waited for less than others when no supporter has heard it for long', () => {
    const { succession, ledger, waitFor } = elected();
    expect(waitFor('r1')).toBe(fullWait);
    succession.note(ledger, ledger, electedAt);
    expect([waitFor('r1'), waitFor('r3')]).toEqual([shortWait, fullWait]);
  });

  test('may have leases from when a supporter heard it', () => {
    const { succession, ledger, waitFor } = elected({ lists: { r3: ['r1'] } });
    succession.note(ledger, ledger, electedAt);
    expect(waitFor('r1')).toBe(fullWait);
  });

  test('may have leases from when this agent heard it', () => {
    const { succession, ledger, waitFor, hear } = elected({ names: ['r1', 'r2', 'r3', 'r4', 'r5'] });
    hear('r1', { follow: null }, electedAt);
    succession.note(ledger, ledger, electedAt);
    expect(waitFor('r1')).toBe(fullWait);
  });

  test('may have been heard by a minority', () => {
    const names = ['r1', 'r2', 'r3', 'r4', 'r5'];
    const { succession, ledger, waitFor } = elected({ names, lists: { r3: ['r1'] } });
    succession.note(ledger, ledger, electedAt);
    expect(waitFor('r1')).toBe(shortWait);
    const more = elected({ names, lists: { r3: ['r1'], r5: ['r1'] } });
    more.succession.note(more.ledger, more.ledger, electedAt);
    expect(more.waitFor('r1')).toBe(fullWait);
  });

  test('may have been heard by a supporter that has forgotten it since, as it was started again', () => {
    const { succession, ledger, waitFor } = elected({ bornAt: electedAt });
    succession.note(ledger, ledger, electedAt);
    expect(waitFor('r1')).toBe(fullWait);
  });

  test('may have been answered by voters of whom this agent does not know', () => {
    const { succession, ledger, waitFor } = elected();
    const former = [{ name: 'r9', incarnation: 1 }];
    const reseated = ledger.voters.map((voter) => ({ ...voter, incarnation: 2 }));
    for (const [adopted, known] of [
      [ledger, null],
      [{ ...ledger, formerVoters: former }, ledger],
      [ledger, { ...ledger, formerVoters: former }],
      [ledger, { ...ledger, voters: former }],
      [ledger, { ...ledger, voters: reseated }],
    ] as const) {
      succession.note(adopted, known, electedAt);
      expect(waitFor('r1')).toBe(fullWait);
    }
  });
});

test.each([
  ['an earlier term, as somebody else may have coordinated since', { term: formerTerm - 1 }],
  ['an earlier life of this agent', { by: 'r2' }],
])('nothing more is known of %s', (_, more) => {
  const { succession, ledger, waitFor } = elected();
  succession.note({ ...ledger, ...more }, ledger, electedAt);
  expect(['r1', 'r2'].map(waitFor)).toEqual([fullWait, fullWait]);
});

test('what was known of one is no longer in the next term', () => {
  const { succession, ledger, waitFor, hear, following } = elected();
  succession.note(ledger, ledger, electedAt);
  const later = electedAt + timers.silenceMs;
  hear('r3', { term: formerTerm + 2 }, later);
  following.step(later, true);
  expect(following.term).toBe(formerTerm + 3);
  expect(waitFor('r1')).toBe(Number.POSITIVE_INFINITY);
});
