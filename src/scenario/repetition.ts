import { type MeasureName, type Measures, measureNames } from './measures.ts';
import type { ScenarioReport, Taken } from './report.ts';

/** `report.json` of a scenario that was run several times. */
export interface RepetitionReport<M extends Taken = Measures> {
  readonly name: string;
  readonly description: string;
  /** Whether every run passed. */
  readonly passed: boolean;
  readonly failed: number;
  /** Worst is the highest: of most measures less is better. */
  readonly measures: { readonly [Name in keyof M]: Spread };
  readonly runs: readonly [ScenarioReport<M>, ...ScenarioReport<M>[]];
}

export interface Spread {
  readonly median: number;
  readonly worst: number;
}

/** Of at least one run. */
export function repetitionOf<M extends Taken>(
  runs: readonly [ScenarioReport<M>, ...ScenarioReport<M>[]],
): RepetitionReport<M> {
  const [{ name, description }] = runs;
  const failed = runs.filter(({ passed }) => !passed).length;
  const measures = Object.fromEntries(
    measureNames.flatMap((each) => {
      const values = runs.flatMap((run) => run.measures[each] ?? []);
      return values.length > 0 ? [[each, spreadOf(values)]] : [];
    }),
  ) as RepetitionReport<M>['measures'];
  return { name, description, passed: failed === 0, failed, measures, runs };
}

/** What a person reads at the end. */
export function formatRepetition({ name, failed, measures, runs }: RepetitionReport<Taken>): string {
  const width = Math.max(...measureNames.map((each) => each.length));
  const column = (value: number | string): string => String(value).padStart(9);
  return [
    `${''.padEnd(width)}${column('median')}${column('worst')}`,
    ...Object.entries(measures).map(([each, { median, worst }]) => {
      const failures = runs.filter(({ expectations }) =>
        expectations.some(({ what, passed }) => what === each && !passed),
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
