import { type MeasureName, type Measures, measureNames } from './measures.ts';
import type { ScenarioReport } from './report.ts';

/** `report.json` of a scenario that was run several times. */
export interface RepetitionReport {
  readonly name: string;
  readonly description: string;
  /** Whether every run passed. */
  readonly passed: boolean;
  readonly failed: number;
  /** Worst is the highest: of most measures less is better. */
  readonly measures: Readonly<Record<MeasureName, Spread>>;
  readonly runs: readonly [ScenarioReport, ...ScenarioReport[]];
}

export interface Spread {
  readonly median: number;
  readonly worst: number;
}

/** Of at least one run. */
export function repetitionOf(runs: readonly [ScenarioReport, ...ScenarioReport[]]): RepetitionReport {
  const [{ name, description }] = runs;
  const failed = runs.filter(({ passed }) => !passed).length;
  const measures = Object.fromEntries(
    measureNames.map((each) => [each, spreadOf(runs.map((run) => run.measures[each]))]),
  ) as Record<MeasureName, Spread>;
  return { name, description, passed: failed === 0, failed, measures, runs };
}

/** What a person reads at the end. */
export function formatRepetition({ name, failed, measures, runs }: RepetitionReport): string {
  const width = Math.max(...measureNames.map((each) => each.length));
  const column = (value: number | string): string => String(value).padStart(9);
  return [
    `${''.padEnd(width)}${column('median')}${column('worst')}`,
    ...measureNames.map((each) => {
      const { median, worst } = measures[each];
      const failures = runs.filter(({ expectations }) =>
        expectations.some(({ measure, passed }) => measure === each && !passed),
      ).length;
      const mark = failures > 0 ? `  FAILED in ${failures} of ${runs.length}` : '';
      return `${each.padEnd(width)}${column(median)}${column(worst)}${mark}`;
    }),
    '',
    `${name}: ${failed === 0 ? `passed in all ${runs.length} runs` : `FAILED in ${failed} of ${runs.length} runs`}`,
    '',
  ].join('\n');
}

/** The median of an even number of values is the mean of the two in the middle. */
function spreadOf(values: readonly Measures[MeasureName][]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? 0;
  const middle = (sorted.length - 1) / 2;
  return { median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2, worst: at(sorted.length - 1) };
}
