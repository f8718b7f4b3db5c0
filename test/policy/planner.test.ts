import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { movesBetween, type Policy, planShares } from '../../src/policy/index.ts';
import { coverSlots, formatSlots, type Partition, parseSlots, partitionOf } from '../../src/space/index.ts';

function partitionOfBits(bits: number): Partition {
  const made = partitionOf(ipAddress(4, (1n << BigInt(bits)) - 1n));
  return defined(made.ok ? made.value : null, 'a partition');
}

type Owners = readonly (string | null)[];

const bytes = partitionOfBits(8);
const equal: Policy = { strategy: 'equal', handoff: 'reset', drainDeadline: 60 };
const weighted = (weights: Record<string, number>): Policy => ({
  strategy: 'weighted',
  weights,
  handoff: 'reset',
  drainDeadline: 60,
});
const explicit = (shares: Record<string, string>): Policy => ({
  strategy: 'explicit',
  shares,
  handoff: 'reset',
  drainDeadline: 60,
});
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

  test('an extra slot stays where it is when remainders are equal, however much the others hold', () => {
    // Quotas of 1/2 and 7/2: the extra slot is anybody's.
    const policy = weighted({ r1: 1, r2: 7 });
    const oneAndThree = ['r1', 'r2', 'r2', 'r2'];
    expect(plan(policy, ['r1', 'r2'], oneAndThree, partitionOfBits(2))).toEqual(oneAndThree);
    const none = ['r2', 'r2', 'r2', 'r2'];
    expect(plan(policy, ['r1', 'r2'], none, partitionOfBits(2))).toEqual(none);
  });

  test('a replica may be called as something that every object has', () => {
    expect(counts(plan(weighted({ r1: 1 }), ['constructor', 'r1']), ['constructor', 'r1'])).toEqual([0, 256]);
  });

  test('a replica that goes and comes back moves its share twice, nobody else', () => {
    const without = plan(equal, ['r1', 'r3'], first);
    const again = plan(equal, three, without);
    expect(moved(first, without)).toBe(85);
    expect(moved(without, again)).toBe(85);
    expect(movesBetween(without, again).every(({ to }) => to === 'r2')).toBe(true);
  });

  test('a weight of zero empties a share, and only that one', () => {
    const next = plan(weighted({ r1: 1, r2: 1, r3: 0 }), three, first);
    expect(counts(next, three)).toEqual([128, 128, 0]);
    expect(moved(first, next)).toBe(85);
  });

  test('more members than slots: one each, by name, and none for the rest', () => {
    expect(plan(equal, ['r1', 'r2', 'r3', 'r4', 'r5'], [], partitionOfBits(2))).toEqual(['r1', 'r2', 'r3', 'r4']);
  });

  test('one slot has one owner', () => {
    expect(plan(equal, three, [], partitionOfBits(0))).toEqual(['r1']);
    expect(plan(equal, three, ['r2'], partitionOfBits(0))).toEqual(['r2']);
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
    // Few different weights, so that remainders are often equal.
    fc.dictionary(fc.constantFrom(...names), fc.nat(5)).map((weights) => weighted({ ...weights })),
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
      { numRuns: 500 },
    );
  });

  test('no fewer slots could move', () => {
    fc.assert(
      fc.property(situations, ({ policy, members, current }) => {
        const owners = plan(policy, members, current, partition);
        const named = policy.strategy === 'explicit' ? namedBy(policy.shares, members) : new Map<number, string>();
        const free = current.filter((_, slot) => !named.has(slot));
        const renamed = [...named].filter(([slot, name]) => current[slot] !== name).length;
        expect(moved(current, owners)).toBe(renamed + fewestMoves(free, quotasOf(policy, members, free.length)));
      }),
      { numRuns: 500 },
    );
  });

  test('counts follow the weights by largest remainder', () => {
    fc.assert(
      fc.property(situations, ({ policy, members, current }) => {
        fc.pre(policy.strategy !== 'explicit');
        const owners = plan(policy, members, current, partition);
        const quotas = quotasOf(policy, members, 64);
        const extras = quotas.map(({ name, whole }) => slotsOf(owners, name).length - whole);
        expect(extras.every((extra) => extra === 0 || extra === 1)).toBe(true);
        const rests = (extra: number): number[] => quotas.flatMap(({ rest }, i) => (extras[i] === extra ? [rest] : []));
        expect(Math.min(...rests(1))).toBeGreaterThanOrEqual(Math.max(0, ...rests(0)));
      }),
    );
  });

  test('explicit shares of those present are respected', () => {
    fc.assert(
      fc.property(situations, ({ policy, members, current }) => {
        if (policy.strategy !== 'explicit') return;
        const owners = plan(policy, members, current, partition);
        const named = namedBy(policy.shares, members);
        expect([...named.keys()].map((slot) => owners[slot])).toEqual([...named.values()]);
      }),
    );
  });

  test('moves turn one map into the other, each slot once', () => {
    fc.assert(
      fc.property(situations, ({ policy, members, current }) => {
        const owners = plan(policy, members, current, partition);
        const turned: (string | null)[] = [...current];
        for (const { slots, from, to } of movesBetween(current, owners)) {
          for (const slot of slots) {
            expect(turned[slot]).toBe(from);
            turned[slot] = to;
          }
        }
        expect(turned).toEqual(owners);
      }),
    );
  });
});

function namedBy(shares: Readonly<Record<string, string>>, members: readonly string[]): Map<number, string> {
  const present = Object.entries(shares).filter(([name]) => members.includes(name));
  return new Map(
    present.flatMap(([name, text]) => {
      const slots = parseSlots(text, 64);
      return (slots.ok ? slots.value : []).map((slot) => [slot, name] as const);
    }),
  );
}

interface Quota {
  readonly name: string;
  readonly whole: number;
  readonly rest: number;
}

function quotasOf(policy: Policy, members: readonly string[], slotCount: number): Quota[] {
  const given = members.map((name) => (policy.strategy === 'weighted' ? (policy.weights[name] ?? 0) : 1));
  const weights = given.some((weight) => weight > 0) ? given : members.map(() => 1);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return members.map((name, i) => {
    const share = slotCount * (weights[i] ?? 0);
    return { name, whole: Math.floor(share / total), rest: share % total };
  });
}

/** Over every way to give the extra slots to the largest remainders. */
function fewestMoves(current: Owners, quotas: readonly Quota[]): number {
  const left = current.length - quotas.reduce((sum, { whole }) => sum + whole, 0);
  const least = quotas.map(({ rest }) => rest).sort((a, b) => b - a)[left - 1] ?? Number.POSITIVE_INFINITY;
  const holdsMore = ({ name, whole }: Quota): boolean => slotsOf(current, name).length > whole;
  const certain = quotas.filter(({ rest }) => rest > least);
  const tied = quotas.filter(({ rest }) => rest === least);
  const kept = quotas.map(({ name, whole }) => Math.min(whole, slotsOf(current, name).length));
  const keptExtras = certain.filter(holdsMore).length + Math.min(left - certain.length, tied.filter(holdsMore).length);
  return current.length - kept.reduce((sum, count) => sum + count, 0) - keptExtras;
}
