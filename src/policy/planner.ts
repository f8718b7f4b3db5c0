import { assert, defined } from '../base/assert.ts';
import { type Partition, parseSlots } from '../space/index.ts';
import type { Policy } from './schema.ts';

export interface ShareInput {
  readonly partition: Partition;
  readonly policy: Policy;
  /** Names of the replicas that can serve, sorted. */
  readonly members: readonly string[];
  /** Owner by slot, null for nobody's; an empty list means that nobody owns anything yet. */
  readonly current: readonly (string | null)[];
}

/** Slots that change owner together; `from` is null for slots that were nobody's. */
export interface Move {
  readonly slots: readonly number[];
  readonly from: string | null;
  readonly to: string;
}

/**
 * The owner of each slot as the policy wants it, moving as few slots as possible; among those it moves aligned blocks where it can, so
 * that shares stay few filters (the reallocation of figures 9 to 13). Every slot has an owner unless there are no members.
 */
export function planShares({ partition, policy, members, current }: ShareInput): (string | null)[] {
  const owners = Array.from({ length: partition.slotCount }, (_, slot) => current[slot] ?? null);
  if (members.length === 0) return owners.fill(null);
  const present = new Set(members);
  const named = namedShares(policy, present, partition.slotCount);
  const pool: number[] = [];
  for (const slot of owners.keys()) {
    const name = named.get(slot);
    if (name !== undefined) owners[slot] = name;
    else pool.push(slot);
    const owner = owners[slot];
    if (owner && !present.has(owner)) owners[slot] = null;
  }
  distribute(owners, pool, weightsOf(policy, members));
  return owners;
}

/** What turns one map into the other, by former and new owner, in order of the first slot. */
export function movesBetween(current: readonly (string | null)[], target: readonly (string | null)[]): Move[] {
  const moves = new Map<string, { slots: number[]; from: string | null; to: string }>();
  for (const [slot, to] of target.entries()) {
    const from = current[slot] ?? null;
    if (to === null || to === from) continue;
    const key = `${from ?? ''}>${to}`;
    const move = moves.get(key) ?? { slots: [], from, to };
    move.slots.push(slot);
    moves.set(key, move);
  }
  return [...moves.values()];
}

/** Slots that an explicit policy gives to a replica that is present. */
function namedShares(policy: Policy, present: ReadonlySet<string>, slotCount: number): ReadonlyMap<number, string> {
  const named = new Map<number, string>();
  if (policy.strategy !== 'explicit') return named;
  for (const [name, text] of Object.entries(policy.shares)) {
    if (!present.has(name)) continue;
    const slots = parseSlots(text, slotCount);
    assert(slots.ok, 'a checked policy names slots that exist');
    for (const slot of slots.value) named.set(slot, name);
  }
  return named;
}

function weightsOf(policy: Policy, members: readonly string[]): ReadonlyMap<string, number> {
  const given = new Map(Object.entries(policy.strategy === 'weighted' ? policy.weights : {}));
  const weights = new Map(members.map((name) => [name, policy.strategy === 'weighted' ? (given.get(name) ?? 0) : 1]));
  const none = [...weights.values()].every((weight) => weight === 0);
  return none ? new Map(members.map((name) => [name, 1])) : weights;
}

/** Shares the slots of `pool` by weight, in place: each keeps what it may, the rest goes to those who have too few. */
function distribute(owners: (string | null)[], pool: readonly number[], weights: ReadonlyMap<string, number>): void {
  const held = new Map([...weights.keys()].map((name) => [name, 0]));
  for (const slot of pool) {
    const owner = owners[slot];
    if (owner) held.set(owner, defined(held.get(owner), 'a member') + 1);
  }
  const targets = targetCounts(pool.length, weights, held);
  const surplus = new Map<string | null, number>([[null, pool.length]]);
  const lacking: { name: string; count: number }[] = [];
  for (const [name, target] of targets) {
    const difference = defined(held.get(name), 'a member') - target;
    if (difference > 0) surplus.set(name, difference);
    if (difference < 0) lacking.push({ name, count: -difference });
  }
  const inPool = new Set(pool);
  lacking.sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1));
  for (const { name, count } of lacking) take(owners, inPool, surplus, name, count);
}

/** Largest remainder: whole quotas first, then one more each by fraction, then to who has most beyond its quota already, then by name. */
function targetCounts(
  slotCount: number,
  weights: ReadonlyMap<string, number>,
  held: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0);
  const quotas = [...weights].map(([name, weight]) => {
    const whole = Math.floor((slotCount * weight) / total);
    return { name, whole, rest: (slotCount * weight) % total, spare: (held.get(name) ?? 0) - whole };
  });
  const left = slotCount - quotas.reduce((sum, { whole }) => sum + whole, 0);
  quotas.sort((a, b) => b.rest - a.rest || b.spare - a.spare || (a.name < b.name ? -1 : 1));
  return new Map(quotas.map(({ name, whole }, i) => [name, whole + (i < left ? 1 : 0)]));
}

/** Gives `count` slots that others can spare to `name`, the largest aligned blocks first: a block of 2^n slots is one filter. */
function take(
  owners: (string | null)[],
  pool: ReadonlySet<number>,
  surplus: Map<string | null, number>,
  name: string,
  count: number,
): void {
  let wanted = count;
  for (let size = 2 ** Math.floor(Math.log2(wanted)); wanted > 0; size /= 2) {
    for (let start = 0; start < owners.length && size <= wanted; start += size) {
      const givers = giversOf(owners, pool, surplus, start, size);
      if (!givers) continue;
      for (const [giver, given] of givers) surplus.set(giver, (surplus.get(giver) ?? 0) - given);
      owners.fill(name, start, start + size);
      wanted -= size;
    }
  }
}

/** Who would give how many slots of a block; null when somebody there cannot spare them all. */
function giversOf(
  owners: readonly (string | null)[],
  pool: ReadonlySet<number>,
  surplus: ReadonlyMap<string | null, number>,
  start: number,
  size: number,
): ReadonlyMap<string | null, number> | null {
  const givers = new Map<string | null, number>();
  for (let slot = start; slot < start + size; slot++) {
    const giver = owners[slot] ?? null;
    const given = (givers.get(giver) ?? 0) + 1;
    if (!pool.has(slot) || given > (surplus.get(giver) ?? 0)) return null;
    givers.set(giver, given);
  }
  return givers;
}
