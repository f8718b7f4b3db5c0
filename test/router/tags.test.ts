import { describe, expect, test } from 'vitest';
import { ipAddress, parseIp } from '../../src/base/address.ts';
import { assert } from '../../src/base/assert.ts';
import { flowKey, type TcpFlow } from '../../src/base/tcp-flow.ts';
import type { Owner } from '../../src/router/claims.ts';
import { type FlowTags, Tags, tagLimits } from '../../src/router/tags.ts';
import { type Partition, partitionOf } from '../../src/space/partition.ts';

const partition = sixteenSlots();
const [r1, r2, r3] = [1, 2, 3].map((last) => ({ address: ipAddress(4, BigInt(last)), link: 'lan' })) as [
  Owner,
  Owner,
  Owner,
];
const members = new Map([
  ['r1', r1],
  ['r2', r2],
  ['r3', r3],
]);
const none: FlowTags = new Map();

function sixteenSlots(): Partition {
  const mask = parseIp('0.0.0.15');
  const partition = mask.ok ? partitionOf(mask.value) : mask;
  assert(partition.ok, 'a partition');
  return partition.value;
}

function flow(slot: number, clientPort = 40_000): TcpFlow {
  return { client: ipAddress(4, 0xc633_6400n + BigInt(slot)), clientPort, servicePort: 80 };
}

function whole(number: number, ...flows: TcpFlow[]) {
  return { number, isWhole: true, flows };
}

const same = (number: number) => ({ number, isWhole: false, flows: [] });

/** Slot 1 is r1's, then r2's; slot 2 was always r2's. */
function afterMove(limits = tagLimits): Tags {
  const tags = new Tags(partition, none, 0, limits);
  tags.own(ownedBy(r1, r2), 0);
  tags.own(ownedBy(r2, r2), 100);
  return tags;
}

function ownedBy(first: Owner, second: Owner): ReadonlyMap<number, Owner> {
  return new Map([
    [1, first],
    [2, second],
  ]);
}

function standing(tags: Tags, nowMs: number): Record<string, Owner> {
  return Object.fromEntries(tags.standing(members, nowMs));
}

const of = (each: TcpFlow, owner: Owner) => ({ [flowKey(each)]: owner });

describe('tags of flows', () => {
  test('send what a member held of a slot on to it, and nothing else of the slot', () => {
    const tags = afterMove();
    tags.tell('r1', r1, 7, whole(1, flow(1)), 200);
    expect(standing(tags, 200)).toEqual(of(flow(1), r1));
    expect(tags.said('r1')).toEqual({ session: 7, number: 1 });
  });

  test('a member draws no flow to itself of a slot that it never owned, or gave away long ago', () => {
    const tags = afterMove();
    tags.tell('r1', r1, 7, whole(1, flow(1), flow(2)), 200);
    tags.tell('r3', r3, 7, whole(1, flow(1, 5), flow(2)), 200);
    expect(standing(tags, 200)).toEqual(of(flow(1), r1));
    expect(tags.said('r3')).toEqual({ session: 7, number: 1 });
    // What stands still it may name for as long as it likes, and nothing besides.
    const later = 100 + tagLimits.formerMs;
    for (let at = 200; at < later; at += 1000) tags.tell('r1', r1, 7, same(1), at);
    tags.tell('r1', r1, 7, whole(2, flow(1), flow(1, 6)), later);
    expect(standing(tags, later)).toEqual(of(flow(1), r1));
  });

  test('a flow that one member has named is no other', () => {
    const tags = afterMove();
    tags.tell('r1', r1, 7, whole(1, flow(1)), 200);
    tags.tell('r2', r2, 7, whole(1, flow(1), flow(2)), 200);
    expect(standing(tags, 200)).toEqual({ ...of(flow(1), r1), ...of(flow(2), r2) });
  });

  test('what a member says replaces what it said before; what was overtaken does not', () => {
    const tags = afterMove();
    tags.tell('r1', r1, 7, whole(2, flow(1)), 200);
    tags.tell('r1', r1, 7, whole(1, flow(1, 5)), 200);
    tags.tell('r1', r1, 6, whole(9, flow(1, 5)), 200);
    expect(standing(tags, 200)).toEqual(of(flow(1), r1));
    tags.tell('r1', r1, 8, whole(1, flow(1, 5)), 200);
    expect(standing(tags, 200)).toEqual(of(flow(1, 5), r1));
  });

  test('end when their member says them no more, or is gone', () => {
    const tags = afterMove();
    tags.tell('r1', r1, 7, whole(1, flow(1)), 200);
    const endMs = 200 + tagLimits.lastsMs;
    expect(tags.nextMs).toBe(endMs);
    tags.tell('r1', r1, 7, same(2), 1200);
    expect(tags.nextMs).toBe(endMs);
    tags.tell('r1', r1, 7, same(1), 1200);
    expect(standing(tags, endMs)).toEqual(of(flow(1), r1));
    expect(standing(tags, 1200 + tagLimits.lastsMs)).toEqual({});
    expect(tags.said('r1')).toEqual({ session: 0, number: 0 });
    tags.tell('r1', r1, 7, whole(1, flow(1)), 9000);
    expect(tags.standing(new Map([['r2', r2]]), 9000)).toEqual(none);
  });

  test('have a bound: what is above it is left out, and has room when others end', () => {
    const tags = afterMove({ ...tagLimits, flowsMax: 3 });
    tags.tell('r2', r2, 7, whole(1, flow(2), flow(2, 5)), 200);
    tags.tell('r1', r1, 7, whole(1, flow(1), flow(1, 5)), 200);
    expect(standing(tags, 200)).toEqual({ ...of(flow(2), r2), ...of(flow(2, 5), r2), ...of(flow(1), r1) });
    tags.tell('r2', r2, 7, whole(2), 300);
    tags.tell('r1', r1, 7, whole(2, flow(1), flow(1, 5)), 300);
    expect(standing(tags, 300)).toEqual({ ...of(flow(1), r1), ...of(flow(1, 5), r1) });
  });

  test("that an earlier process left stand for a while, and are their holders' to name again", () => {
    const left = new Map([flow(1), flow(1, 5), flow(2)].map((each, i) => [flowKey(each), i < 2 ? r1 : r3] as const));
    const tags = new Tags(partition, left, 5000);
    expect(tags.standing(members, 0)).toEqual(left);
    tags.tell('r2', r2, 7, whole(1, flow(1)), 100);
    tags.tell('r1', r1, 7, whole(1, flow(1)), 100);
    expect(standing(tags, 100)).toEqual({ ...of(flow(1), r1), ...of(flow(2), r3) });
    tags.tell('r1', r1, 7, same(1), 3000);
    expect(standing(tags, 5000)).toEqual(of(flow(1), r1));
  });

  test('are the same value while nothing changes', () => {
    const tags = afterMove();
    tags.tell('r1', r1, 7, whole(1, flow(1)), 200);
    const before = tags.standing(members, 200);
    tags.tell('r1', r1, 7, same(1), 1200);
    expect(tags.standing(members, 1200)).toBe(before);
  });
});
