import { describe, expect, test } from 'vitest';
import { type Allocation, acceptedSlots, advance, intendedOwners, redirect } from '../../src/control/moves.ts';

const nobodyGone = () => false;
const settled: Allocation = { owners: ['a', 'a', 'b', 'b'], moves: [], nextMoveId: 1 };
const moving = redirect(settled, ['a', 'b', 'b', 'b'], 2, nobodyGone);

describe('a move', () => {
  test('first leaves its owner: nobody accepts the slot', () => {
    expect(moving).toEqual({
      owners: ['a', 'a', 'b', 'b'],
      moves: [{ id: 1, since: 2, phase: 'leave', from: 'a', to: 'b', slots: [1] }],
      nextMoveId: 2,
    });
    expect([...acceptedSlots(moving, 'a')]).toEqual([0]);
    expect([...acceptedSlots(moving, 'b')]).toEqual([2, 3]);
  });

  test('goes on when the kernel whose turn it is has confirmed, and not before', () => {
    expect(advance(moving, 3, () => 1)).toBe(null);
    expect(advance(moving, 3, (name) => (name === 'b' ? 9 : 0))).toBe(null);
    const owned = advance(moving, 3, (name) => (name === 'a' ? 2 : 0));
    expect(owned).toMatchObject({ owners: ['a', 'b', 'b', 'b'], moves: [{ id: 1, since: 3, phase: 'owned' }] });
    const done = advance(owned ?? settled, 4, (name) => (name === 'b' ? 3 : 0));
    expect(done).toEqual({ owners: ['a', 'b', 'b', 'b'], moves: [], nextMoveId: 2 });
  });

  test('is cancelled before its new owner had it, and turned back after', () => {
    expect(redirect(moving, settled.owners, 3, nobodyGone)).toEqual({ ...settled, nextMoveId: 2 });
    const owned = advance(moving, 3, () => 2) ?? settled;
    expect(redirect(owned, settled.owners, 4, nobodyGone).moves).toEqual([
      { id: 2, since: 4, phase: 'leave', from: 'b', to: 'a', slots: [1] },
    ]);
  });

  test('that the new target wants too keeps its number', () => {
    const more = redirect(moving, ['b', 'b', 'b', 'b'], 3, nobodyGone);
    expect(more.moves.map(({ id, slots }) => [id, slots])).toEqual([
      [1, [1]],
      [2, [0]],
    ]);
  });

  test('from an owner that is gone happens at once', () => {
    const taken = redirect(settled, ['a', 'a', 'a', 'a'], 2, (name) => name === 'b');
    expect(taken).toMatchObject({ owners: ['a', 'a', 'a', 'a'], moves: [{ phase: 'owned', from: 'b', to: 'a' }] });
  });

  test('under way counts as done when the next plan is made', () => {
    expect(intendedOwners(moving, ['a', 'b'])).toEqual(['a', 'b', 'b', 'b']);
    expect(intendedOwners(moving, ['a'])).toEqual(['a', 'a', null, null]);
  });
});
