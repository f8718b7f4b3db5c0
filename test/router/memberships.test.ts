import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatIp, type IpAddress } from '../../src/base/address.ts';
import type { AcceptedJoin } from '../../src/router/join-checks.ts';
import { membershipIntervalMs, membershipTimers, otherQuerierPresentMs } from '../../src/router/membership-timers.ts';
import { type MembershipOutput, Memberships } from '../../src/router/memberships.ts';
import { slotsOfFilters } from '../../src/router/slots-of-filters.ts';
import { formatSlots } from '../../src/space/slot-ranges.ts';
import { address, bytePartition, group, ip, share } from './joins-under-test.ts';

const own = address(2);
const holdMs = membershipIntervalMs(membershipTimers);

function router(self = own, membersMax = 100): Memberships {
  const links = [{ name: 'lan', address: self }];
  return new Memberships({ links, groups: [{ address: group, partition: bytePartition }], membersMax }, 0);
}

function join(replica: string, last: number, epoch: number, slots: number[], more: Partial<AcceptedJoin> = {}) {
  // One filter for each slot: to look for the smallest list of them takes longer than the rest of a test.
  const permit = slots.map((slot) => ({ value: ip(`0.0.0.${slot}`), mask: bytePartition.mask }));
  return {
    ...{ group, link: 'lan', address: address(last), replica, epoch, timeMs: 1000, isLeave: slots.length === 0 },
    ...{ serial: null, filters: { permit, prohibit: [] }, ...more },
  };
}

/** Such as "1-3: 10.77.0.21 lan". */
function ownersOf(state: Memberships): string[] {
  const slots = new Map<string, number[]>();
  for (const [slot, { address: each, link }] of state.owners(group)) {
    const owner = `${formatIp(each)} ${link}`;
    slots.set(owner, [...(slots.get(owner) ?? []), slot]);
  }
  return [...slots].map(([owner, each]) => `${formatSlots(each)}: ${owner}`).sort();
}

function eventsOf(outputs: readonly MembershipOutput[]): object[] {
  return outputs.flatMap((each) => (each.kind === 'event' ? [each.event] : []));
}

/** Links and times at which this router asks until `untilMs`, with the response time. */
function queriesUntil(state: Memberships, untilMs: number): string[] {
  const queries: string[] = [];
  while (state.wakeAtMs <= untilMs) {
    const at = state.wakeAtMs;
    for (const each of state.wake(at)) {
      if (each.kind === 'query') queries.push(`${at}: ${each.link} ${each.query.maxResponseMs}`);
    }
  }
  return queries;
}

describe('owners', () => {
  test('whose certificate is revoked own nothing from then on, and others what they claim besides', () => {
    const state = router();
    state.joined(join('web1', 21, 2, [0, 1], { serial: '0a1b' }), 0);
    state.joined(join('web2', 22, 1, [1, 2], { serial: '0c' }), 0);
    expect(state.revoke(group, new Set(['ff']))).toEqual([]);
    const outputs = state.revoke(group, new Set(['A1B']));
    expect(eventsOf(outputs)).toEqual([{ event: 'revoked', group, member: 'web1', link: 'lan' }]);
    expect(ownersOf(state)).toEqual(['1-2: 10.77.0.22 lan']);
  });

  test('that own nothing any more are known still, with their place, until they say nothing for long', () => {
    const state = router();
    state.joined(join('web1', 21, 1, [0, 1]), 0);
    state.joined(join('web1', 21, 2, [], { timeMs: 2000 }), 1000);
    expect([...state.members(group)]).toEqual([]);
    expect([...state.places(group)]).toEqual([['web1', { address: address(21), link: 'lan' }]]);
    state.wake(1000 + holdMs);
    expect([...state.places(group)]).toEqual([]);
  });

  test('follow the filters of joins, and say so once', () => {
    const state = router();
    const outputs = state.joined(join('web1', 21, 1, [0, 1, 2, 3]), 0);
    expect(eventsOf(outputs)).toEqual([{ event: 'joined', group, member: 'web1', link: 'lan' }]);
    expect(outputs.at(-1)).toMatchObject({ kind: 'owners', group });
    expect(ownersOf(state)).toEqual(['0-3: 10.77.0.21 lan']);
    expect(state.joined(join('web1', 21, 1, [0, 1, 2, 3], { timeMs: 2000 }), 10)).toEqual([]);
    expect(state.joined(join('web1', 21, 2, [0, 1, 2, 3], { timeMs: 3000 }), 20)).toEqual([]);
  });

  test('change with the newest epoch, whoever leaves what first', () => {
    const state = router();
    state.joined(join('web1', 21, 1, [0, 1]), 0);
    state.joined(join('web2', 22, 2, [1, 2]), 0);
    expect(ownersOf(state)).toEqual(['0: 10.77.0.21 lan', '1-2: 10.77.0.22 lan']);
    state.joined(join('web1', 21, 2, [0]), 0);
    expect(ownersOf(state)).toEqual(['0: 10.77.0.21 lan', '1-2: 10.77.0.22 lan']);
    expect(state.joined(join('web1', 21, 1, [0, 1, 2], { timeMs: 9000 }), 0)).toEqual([]);
  });

  test('of a group where two claim a slot under one epoch stay with the first, and that is told once', () => {
    const state = router();
    state.joined(join('web2', 22, 5, [7, 8]), 0);
    const outputs = state.joined(join('web1', 21, 5, [8, 9], { timeMs: 2000 }), 0);
    expect(eventsOf(outputs)).toContainEqual({
      ...{ event: 'conflict', group, holder: 'web2', claimant: 'web1', epoch: 5, slots: [8] },
    });
    expect(ownersOf(state)).toEqual(['7-8: 10.77.0.22 lan', '9: 10.77.0.21 lan']);
    const more = eventsOf(state.joined(join('web1', 21, 5, [8, 9, 10], { timeMs: 3000 }), 0));
    expect(more).toEqual([]);
    state.joined(join('web1', 21, 5, [8, 9], { timeMs: 4000 }), 0);
    // To say it again later makes it no later claim, nor a new conflict.
    for (const member of ['web2', 'web1']) {
      expect(
        state.joined(
          join(member, member === 'web2' ? 22 : 21, 5, member === 'web2' ? [7, 8] : [8, 9], { timeMs: 5000 }),
          0,
        ),
      ).toEqual([]);
    }
  });

  test('are none of slots whose member has left, by a leave or by silence', () => {
    const state = router();
    state.joined(join('web1', 21, 1, [1]), 0);
    state.joined(join('web2', 22, 1, [2]), 5000);
    const left = state.joined(join('web1', 21, 1, [], { timeMs: 2000 }), 6000);
    expect(eventsOf(left)).toEqual([{ event: 'left', group, member: 'web1', link: 'lan' }]);
    expect(ownersOf(state)).toEqual(['2: 10.77.0.22 lan']);
    expect([...state.members(group).keys()]).toEqual(['web2']);
    // An earlier join that comes late does not bring it back.
    expect(state.joined(join('web1', 21, 1, [1], { timeMs: 1500 }), 6001)).toEqual([]);
    expect(eventsOf(state.wake(5000 + holdMs - 1))).toEqual([]);
    expect(eventsOf(state.wake(5000 + holdMs))).toEqual([{ event: 'expired', group, member: 'web2', link: 'lan' }]);
    expect(ownersOf(state)).toEqual([]);
  });

  test('follow a member to its new address', () => {
    const state = router();
    state.joined(join('web1', 21, 1, [1]), 0);
    state.joined(join('web1', 31, 1, [1], { timeMs: 2000 }), 0);
    expect(ownersOf(state)).toEqual(['1: 10.77.0.31 lan']);
  });

  test('end in time however often an earlier epoch is repeated, and by no leave of one', () => {
    const state = router();
    state.joined(join('web1', 21, 5, [1]), 0);
    for (const nowMs of [1000, holdMs - 1]) {
      expect(state.joined(join('web1', 21, 4, [2], { timeMs: 1000 + nowMs }), nowMs)).toEqual([]);
      expect(state.joined(join('web1', 21, 4, [], { timeMs: 1000 + nowMs }), nowMs)).toEqual([]);
    }
    expect(ownersOf(state)).toEqual(['1: 10.77.0.21 lan']);
    expect(eventsOf(state.wake(holdMs))).toEqual([{ event: 'expired', group, member: 'web1', link: 'lan' }]);
  });

  test('of a public group are told apart by their addresses', () => {
    const state = router();
    for (const last of [21, 22]) state.joined(join('', last, 0, [last], { replica: null }), 0);
    expect(ownersOf(state)).toEqual(['21: 10.77.0.21 lan', '22: 10.77.0.22 lan']);
  });

  test('do not change by a join that splits slots, is of another group, or has no room', () => {
    const state = router(own, 1);
    const half = { permit: [{ value: ip('0.0.1.0'), mask: ip('0.0.1.0') }], prohibit: [] };
    expect(eventsOf(state.joined(join('web1', 21, 1, [1], { filters: half }), 0))).toEqual([
      { event: 'unusable', group, member: 'web1', reason: 'filter 0.0.1.0/0.0.1.0 splits slots' },
    ]);
    expect(state.joined(join('web1', 21, 1, [1], { group: ip('239.1.1.1') }), 0)).toEqual([]);
    state.joined(join('web1', 21, 1, [1]), 0);
    expect(eventsOf(state.joined(join('web2', 22, 1, [2]), 0))).toMatchObject([{ reason: 'more than 1 members' }]);
    expect(ownersOf(state)).toEqual(['1: 10.77.0.21 lan']);
  });

  test('are the same in two routers that hear the same joins in any order', () => {
    const drawn = fc.record({
      member: fc.nat(3),
      epoch: fc.nat(2),
      timeMs: fc.nat(5),
      slots: fc.uniqueArray(fc.nat(5), { maxLength: 4 }),
    });
    const cases = fc
      .array(drawn, { maxLength: 12 })
      .chain((joins) => fc.tuple(fc.constant(joins), fc.shuffledSubarray(joins, { minLength: joins.length })));
    const heard = (joins: readonly { member: number; epoch: number; timeMs: number; slots: number[] }[]) => {
      const state = router();
      for (const { member, epoch, timeMs, slots } of joins) {
        state.joined(join(`web${member}`, 20 + member, epoch, slots, { timeMs }), 0);
      }
      return ownersOf(state);
    };
    fc.assert(
      fc.property(cases, ([joins, shuffled]) => {
        expect(heard(shuffled)).toEqual(heard(joins));
      }),
      { numRuns: 1000 },
    );
  });

  test('of filters are the slots they permit and do not prohibit', () => {
    const filters = { ...share(...Array(256).keys()), prohibit: share(3, 4, 250).permit };
    const slots = slotsOfFilters(bytePartition, filters);
    expect(formatSlots(slots.ok ? slots.value : [])).toBe('0-2,5-249,251-255');
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(255), { maxLength: 12 }), (each) => {
        expect(slotsOfFilters(bytePartition, share(...each))).toEqual({ ok: true, value: each.sort((a, b) => a - b) });
      }),
    );
  });
});

describe('queries', () => {
  test('are asked out of turn, with the short time of the start, when joins begin to count; those in turn stay', () => {
    const state = router();
    queriesUntil(state, 2000);
    const { wakeAtMs } = state;
    expect(state.ask()).toMatchObject([{ kind: 'query', link: 'lan', query: { group: null, maxResponseMs: 1000 } }]);
    expect(state.wakeAtMs).toBe(wakeAtMs);
  });

  test('begin at once, twice for an answer within a second, and go on at the interval', () => {
    expect(queriesUntil(router(), 300_000)).toEqual([
      '0: lan 1000',
      '1000: lan 1000',
      '126000: lan 10000',
      '251000: lan 10000',
    ]);
  });

  test('are left to a router with a lower address, until it is silent', () => {
    const state = router();
    queriesUntil(state, 2000);
    expect(eventsOf(state.queried('lan', address(1), 3000))).toEqual([
      { event: 'querier', link: 'lan', address: address(1) },
    ]);
    expect(state.queried('lan', address(1), 4000)).toEqual([]);
    const silentMs = 4000 + otherQuerierPresentMs(membershipTimers);
    expect(state.wakeAtMs).toBe(silentMs);
    expect(state.wake(silentMs)).toMatchObject([
      { event: { event: 'querier', link: 'lan', address: null } },
      { kind: 'query', link: 'lan', query: { group: null, maxResponseMs: 10_000, robustness: 2, intervalMs: 125_000 } },
    ]);
  });

  test('of a start are sent though another router asks', () => {
    const state = router();
    state.queried('lan', address(1), 0);
    expect(queriesUntil(state, 200_000)).toEqual(['0: lan 1000', '1000: lan 1000']);
  });

  test.each(['0.0.0.0', '10.77.0.2', '10.77.0.3'])('of %s leave this one the querier', (text) => {
    const state = router();
    queriesUntil(state, 2000);
    expect(state.queried('lan', ip(text), 3000)).toEqual([]);
    expect(state.queried('elsewhere', address(1), 3000)).toEqual([]);
    expect(queriesUntil(state, 130_000)).toEqual(['126000: lan 10000']);
  });

  test('go out for a member that no querier has asked for, so that a false one ends no membership', () => {
    const state = router();
    queriesUntil(state, 2000);
    state.joined(join('web1', 21, 1, [1]), 2000);
    for (let at = 3000; at < 400_000; at += 20_000) state.queried('lan', address(1), at);
    const dueMs = 2000 + holdMs - 2 * membershipTimers.queryResponseMs;
    expect(queriesUntil(state, dueMs + 1)).toEqual([`${dueMs}: lan 10000`]);
    state.joined(join('web1', 21, 1, [1], { timeMs: 2000 }), dueMs + 5000);
    expect(queriesUntil(state, dueMs + holdMs - 30_000)).toEqual([]);
    expect(ownersOf(state)).toEqual(['1: 10.77.0.21 lan']);
  });
});

test('two routers elect one querier', () => {
  const routers = new Map<IpAddress, Memberships>([address(1), address(2)].map((each) => [each, router(each)]));
  const asked: string[] = [];
  for (let at = 0; at <= 500_000; at += 500) {
    for (const [self, state] of routers) {
      for (const output of state.wake(at)) {
        if (output.kind !== 'query') continue;
        asked.push(formatIp(self));
        for (const [other, each] of routers) if (other !== self) each.queried('lan', self, at);
      }
    }
  }
  expect(asked.filter((each) => each === '10.77.0.2')).toHaveLength(2);
  expect(asked.filter((each) => each === '10.77.0.1')).toHaveLength(5);
});
