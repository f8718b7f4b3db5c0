import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { movesBetween, type Policy, planShares } from '../../src/policy/index.ts';
import { coverSlots, formatSlots, type Partition, partitionOf } from '../../src/space/index.ts';

function partitionOfBits(bits: number): Partition {
  const made = partitionOf(ipAddress(4, (1n << BigInt(bits)) - 1n));
  return defined(made.ok ? made.value : null, 'a partition');
}

type Owners = readonly (string | null)[];

const bytes = partitionOfBits(8);
const equal: Policy = { strategy: 'equal', handoff: 'reset' };
const weighted = (weights: Record<string, number>): Policy => ({ strategy: 'weighted', weights, handoff: 'reset' });
const explicit = (shares: Record<string, string>): Policy => ({ strategy: 'explicit', shares, handoff: 'reset' });
const plan = (policy: Policy, members: readonly string[], current: Owners = [], partition = bytes): (string | null)[] =>
  planShares({ partition, policy, members, current });
const slotsOf = (owners: Owners, name: string): number[] =>
  owners.flatMap((owner, slot) => (owner === name ? [slot] : []));
const counts = (owners: Owners, members: readonly string[]): number[] =>
  members.map((name) => slotsOf(owners, name).length);
const moved = (from: Owners, to: Owners): number => to.filter((owner, slot) => owner !== (from[slot] ?? null)).length;

const three = ['r1', 'r2', 'r3'];

describe('examples', () => {
  const first = plan(equal, three);

  test('256 slots among three: 86, 85, 85, in four filters each', () => {
    expect(counts(first, three)).toEqual([86, 85, 85]);
    expect(three.map((name) => coverSlots(bytes, slotsOf(first, name)).length)).toEqual([4, 4, 4]);
  });

  test('from equal to 50/25/25 moves 42 slots', () => {
    const next = plan(weighted({ r1: 50, r2: 25, r3: 25 }), three, first);
    expect(counts(next, three)).toEqual([128, 64, 64]);
    expect(moved(first, next)).toBe(42);
  });

  test('a replica that goes leaves its slots to the others, and nothing else moves', () => {
    const next = plan(equal, ['r1', 'r2'], first);
    expect(counts(next, three)).toEqual([128, 128, 0]);
    expect(moved(first, next)).toBe(85);
  });

  test('a replica that comes takes from everybody', () => {
    const two = plan(equal, ['r1', 'r2']);
    const next = plan(equal, three, two);
    expect(counts(next, three)).toEqual([86, 85, 85]);
    expect(movesBetween(two, next).every(({ to }) => to === 'r3')).toBe(true);
  });

  test('a replica without a weight gets nothing; when nobody has one, all share equally', () => {
    expect(counts(plan(weighted({ r1: 3, r2: 1 }), three), three)).toEqual([192, 64, 0]);
    expect(counts(plan(weighted({ r9: 1 }), three), three)).toEqual([86, 85, 85]);
    expect(counts(plan(weighted({ r1: 0, r2: 0, r3: 0 }), ['r1', 'r2']), three)).toEqual([128, 128, 0]);
  });

  test('explicit shares are given as named; the rest, and those of the absent, equally', () => {
    const policy = explicit({ r1: '0-63', r2: '64-127,200', r9: '128-159' });
    const owners = plan(policy, three, first);
    expect(slotsOf(owners, 'r1')).toEqual(expect.arrayContaining([...Array(64).keys()]));
    expect(owners[200]).toBe('r2');
    const rest = owners.filter((_, slot) => slot >= 128 && slot !== 200);
    expect(counts(rest, three)).toEqual([42, 43, 42]);
  });

  test('without members nobody owns anything', () => {
    expect(plan(equal, [], first).every((owner) => owner === null)).toBe(true);
  });

  test('moves are grouped by where they go from and to', () => {
    expect(movesBetween(['r1', 'r1', null, 'r2', 'r1'], ['r2', 'r1', 'r1', 'r2', 'r2'])).toEqual([
      { slots: [0, 4], from: 'r1', to: 'r2' },
      { slots: [2], from: null, to: 'r1' },
    ]);
  });
});

describe('always', () => {
  const names = ['r1', 'r2', 'r3', 'r4', 'r5'];
  const policies = fc.oneof(
    fc.constant(equal),
    fc.dictionary(fc.constantFrom(...names), fc.nat(100)).map((weights) => weighted({ ...weights })),
    fc.array(fc.constantFrom(...names, null), { minLength: 64, maxLength: 64 }).map((wanted) => {
      const given = names.map((name) => [name, formatSlots(slotsOf(wanted, name))] as const);
      return explicit(Object.fromEntries(given.filter(([, slots]) => slots !== '')));
    }),
  );
  const situations = fc.record({
    policy: policies,
    members: fc.subarray(names, { minLength: 1 }),
    current: fc.array(fc.constantFrom(...names, 'gone', null), { minLength: 64, maxLength: 64 }),
  });
  const partition = partitionOfBits(6);

  test('every slot is owned by a member, and planning again moves nothing', () => {
    fc.assert(
      fc.property(situations, ({ policy, members, current }) => {
        const owners = plan(policy, members, current, partition);
        expect(owners).toHaveLength(64);
        expect(owners.every((owner) => owner !== null && members.includes(owner))).toBe(true);
        expect(plan(policy, members, owners, partition)).toEqual(owners);
      }),
    );
  });

  test('no fewer slots could move: only those that somebody has too many of, or that nobody present has', () => {
    fc.assert(
      fc.property(situations, ({ policy, members, current }) => {
        fc.pre(policy.strategy !== 'explicit');
        const owners = plan(policy, members, current, partition);
        const lacking = members.map((name) =>
          Math.max(0, slotsOf(owners, name).length - slotsOf(current, name).length),
        );
        expect(moved(current, owners)).toBe(lacking.reduce((sum, count) => sum + count, 0));
      }),
    );
  });

  test('counts follow the weights to within one slot', () => {
    fc.assert(
      fc.property(situations, ({ policy, members, current }) => {
        fc.pre(policy.strategy === 'weighted');
        const given = members.map((name) => (policy.strategy === 'weighted' ? (policy.weights[name] ?? 0) : 1));
        const total = given.reduce((sum, weight) => sum + weight, 0);
        fc.pre(total > 0);
        const owners = plan(policy, members, current, partition);
        for (const [i, name] of members.entries()) {
          const quota = (64 * (given[i] ?? 0)) / total;
          expect(Math.abs(slotsOf(owners, name).length - quota)).toBeLessThan(1);
        }
      }),
    );
  });

  test('explicit shares of those present are respected', () => {
    fc.assert(
      fc.property(situations, ({ policy, members, current }) => {
        if (policy.strategy !== 'explicit') return;
        const owners = plan(policy, members, current, partition);
        for (const name of members) {
          const share = policy.shares[name];
          if (share === undefined) continue;
          const wanted = share.split(',').flatMap((range) => {
            const [first = 0, last = first] = range.split('-').map(Number);
            return Array.from({ length: last - first + 1 }, (_, i) => first + i);
          });
          expect(wanted.map((slot) => owners[slot])).toEqual(wanted.map(() => name));
        }
      }),
    );
  });
});
