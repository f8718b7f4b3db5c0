import { expect, test } from 'vitest';
import { Life } from '../../src/sim/life.ts';
import { Timeline } from '../../src/sim/timeline.ts';
import { settle } from './bench.ts';

function life(
  descheduled = 0,
  seed = 1,
): { life: Life; timeline: Timeline; done: string[]; note: (what: string) => void } {
  const timeline = new Timeline(seed, settle);
  const done: string[] = [];
  const note = (what: string): void => void done.push(`${what} at ${timeline.now}`);
  return { life: new Life(timeline, { descheduled, descheduledMsMax: 100 }), timeline, done, note };
}

test('a stopped process gets its turns when it goes on, in order', async () => {
  const { life: agent, timeline, done, note } = life();
  agent.stop(50);
  agent.stop(20);
  agent.turn(() => agent.effect(() => note('first')));
  agent.turn(() => note('second'));
  await timeline.run(49);
  expect(done).toEqual([]);
  await timeline.run(1);
  expect(done).toEqual(['first at 50', 'second at 50']);
});

test('a process that loses the processor in the midst of a turn does the rest late, before anything else', async () => {
  const { life: agent, timeline, done, note } = life(1);
  const read = timeline.now;
  agent.turn(() => {
    for (let i = 0; i < 6; i++) agent.effect(() => note(`effect ${i} read ${read}`));
  });
  agent.turn(() => note('next'));
  const inTime = done.length;
  expect(inTime).toBeLessThan(5);
  await timeline.run(200);
  expect(done.map((line) => line.split(' at ')[0])).toEqual([
    ...Array.from({ length: 6 }, (_, i) => `effect ${i} read 0`),
    'next',
  ]);
  expect(done.slice(inTime).every((line) => !line.endsWith(' at 0'))).toBe(true);
});

test('a process that is interrupted says what it began to say, and no more until it goes on', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const { life: agent, timeline, done, note } = life(0, seed);
    agent.interrupt(70, () => note('interrupted'));
    agent.turn(() => {
      for (let i = 0; i < 6; i++) agent.effect(() => note(`${i}`));
    });
    const cut = done.indexOf('interrupted at 0');
    await timeline.run(70);
    expect(cut).toBeGreaterThanOrEqual(0);
    expect(done).toEqual([
      ...Array.from({ length: cut }, (_, i) => `${i} at 0`),
      'interrupted at 0',
      ...Array.from({ length: 6 - cut }, (_, i) => `${cut + i} at 70`),
    ]);
  }
});

test('a killed process does nothing more, but for the one thing that it may have begun', () => {
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) {
    const { life: agent, done, note } = life(0, seed);
    agent.stop(10);
    agent.effect(() => note('write'));
    agent.effect(() => note('send'));
    agent.kill();
    agent.wake();
    agent.turn(() => note('turn'));
    outcomes.add(done.join());
  }
  expect([...outcomes].sort()).toEqual(['', 'write at 0']);
});
