import { expect, test } from 'vitest';
import { addressOf } from '../../src/base/address.ts';
import { StandingOwners } from '../../src/router/standing-owners.ts';

const owner = (text: string) => ({ address: addressOf(text), link: 'eth1' });
const [one, two] = [owner('10.0.0.1'), owner('10.0.0.2')];

test('a slot that its owner gives up before another takes it goes on to the former meanwhile', () => {
  const standing = new StandingOwners(3000, new Map(), 0);
  standing.claim(new Map([[5, one]]), 100);
  expect(standing.nextMs).toBe(Infinity);
  standing.claim(new Map(), 200);
  expect(standing.owners(250, [])).toEqual(new Map([[5, one]]));
  expect(standing.nextMs).toBe(3200);
  standing.claim(new Map([[5, two]]), 300);
  expect(standing.owners(300, [])).toEqual(new Map([[5, two]]));
  expect(standing.nextMs).toBe(Infinity);
});

test('for as long as that one is known', () => {
  const standing = new StandingOwners(3000, new Map(), 0);
  standing.claim(new Map([[5, one]]), 100);
  standing.claim(new Map(), 200);
  expect(standing.owners(60_000, [two, one])).toEqual(new Map([[5, one]]));
  expect(standing.owners(62_999, [two]).size).toBe(1);
  expect(standing.owners(63_000, [two]).size).toBe(0);
});

test('but not to one that is forgotten', () => {
  const standing = new StandingOwners(3000, new Map(), 0);
  standing.claim(
    new Map([
      [5, one],
      [6, two],
    ]),
    100,
  );
  standing.claim(new Map(), 200);
  standing.forget(one);
  expect(standing.owners(200, [one, two])).toEqual(new Map([[6, two]]));
});

test('and to nobody once that has lasted', () => {
  const standing = new StandingOwners(3000, new Map(), 0);
  standing.claim(new Map([[5, one]]), 100);
  standing.claim(new Map(), 200);
  expect(standing.owners(3199, []).size).toBe(1);
  expect(standing.owners(3200, []).size).toBe(0);
  expect(standing.nextMs).toBe(Infinity);
});

test('what an earlier process left stands until somebody claims it, or for as long as was said', () => {
  const left = new Map([
    [5, one],
    [6, one],
  ]);
  const standing = new StandingOwners(3000, left, 5000);
  expect(standing.owners(0, [])).toEqual(left);
  standing.claim(new Map([[5, two]]), 1000);
  expect(standing.owners(1000, []).get(5)).toBe(two);
  expect(standing.owners(1000, []).get(6)).toBe(one);
  expect([...standing.owners(5000, []).keys()]).toEqual([5]);
});
