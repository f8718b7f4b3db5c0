import { expect, test } from 'vitest';
import { type MeasureName, measureNames } from '../../src/scenario/measures.ts';
import { formatRepetition, repetitionOf } from '../../src/scenario/repetition.ts';
import type { ScenarioReport } from '../../src/scenario/report.ts';

function run(gapMs: number): ScenarioReport {
  const zeros = Object.fromEntries(measureNames.map((name) => [name, 0])) as Record<MeasureName, number>;
  const passed = gapMs <= 100;
  return {
    ...{ name: 'short', description: 'what is shown', passed, on: 'lab', timeline: [], replicas: [], failures: [] },
    requests: { total: 0, failed: 0 },
    connections: { total: 0, reset: 0, reconnected: 0, broken: 0 },
    move: { slots: 0, durationMs: 0 },
    failover: { gapMs: 0, byLoss: {} },
    measures: { ...zeros, 'served.gapMs': gapMs },
    expectations: [{ what: 'served.gapMs', want: 'at most 100', got: gapMs, passed }],
  };
}

test('the median is the value in the middle, or between the two in the middle; the worst is the highest', () => {
  expect(repetitionOf([run(30), run(10), run(90)]).measures['served.gapMs']).toEqual({ median: 30, worst: 90 });
  expect(repetitionOf([run(30), run(10), run(90), run(40)]).measures['served.gapMs']).toEqual({
    median: 35,
    worst: 90,
  });
  expect(repetitionOf([run(7)]).measures['served.gapMs']).toEqual({ median: 7, worst: 7 });
});

test('one run that fails is told, by measure too, and makes the whole fail', () => {
  const good = repetitionOf([run(30), run(40)]);
  expect([good.passed, good.failed]).toEqual([true, 0]);
  expect(formatRepetition(good)).toContain('short: passed in all 2 runs');
  const bad = repetitionOf([run(30), run(101)]);
  expect([bad.passed, bad.failed, bad.runs.length]).toEqual([false, 1, 2]);
  expect(formatRepetition(bad)).toMatch(/served\.gapMs +65\.5 +101 {2}FAILED in 1 of 2/);
  expect(formatRepetition(bad)).toContain('short: FAILED in 1 of 2 runs');
});
