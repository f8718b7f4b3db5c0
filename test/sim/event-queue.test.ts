import { expect, test } from 'vitest';
import { EventQueue } from '../../src/sim/event-queue.ts';
import { createRandom } from '../../src/sim/random.ts';

test('gives what comes first, and of the same time what was added first', () => {
  const queue = new EventQueue();
  const random = createRandom(3);
  const taken: number[] = [];
  const added = Array.from({ length: 500 }, (_, order) => ({ at: random.below(40), order }));
  for (const { at, order } of added) queue.add(at, () => taken.push(order));
  for (let next = queue.take(100); next; next = queue.take(100)) next.run?.();
  const sorted = [...added].sort((a, b) => a.at - b.at || a.order - b.order).map(({ order }) => order);
  expect(taken).toEqual(sorted);
});

test('gives nothing after the end asked for, and nothing that was cancelled', () => {
  const queue = new EventQueue();
  const first = queue.add(1, () => {});
  const second = queue.add(2, () => {});
  queue.add(3, () => {});
  first.run = null;
  expect(queue.take(2.5)).toBe(second);
  expect(queue.take(2.5)).toBeNull();
  expect(queue.take(3)?.at).toBe(3);
});
