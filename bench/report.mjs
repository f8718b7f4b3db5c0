// What the cases found, as JSON for programs, Markdown for people, and a picture of each plot.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { short, svgOf } from './plot.mjs';
import { spread } from './statistics.mjs';

/**
 * @typedef {{ name: string, metric: string, unit: string, values: number[] }} Metric what is compared, what is measured of it, and a value for each round
 * @typedef {{ metrics: Metric[], ratios: { name: string, values: number[] }[], plots: { file: string }[], notes: string[] }} Measured
 * @typedef {{ file: string, title: string, seconds: number } & (Measured | { error: string })} Finding of one case
 */

/**
 * Writes results.json, results.md and the plots into `directory`.
 * @param {string} directory
 * @param {{ machine: object, date: string, command: string }} run
 * @param {Finding[]} findings
 */
export function writeReport(directory, run, findings) {
  mkdirSync(directory, { recursive: true });
  for (const { plots = [] } of findings) {
    for (const plot of plots) writeFileSync(join(directory, plot.file), svgOf(plot));
  }
  writeFileSync(join(directory, 'results.json'), `${JSON.stringify(resultsOf(run, findings), null, 2)}\n`);
  writeFileSync(join(directory, 'results.md'), markdownOf(run, findings));
}

/** As in results.json. */
export function resultsOf(run, findings) {
  return {
    ...run,
    cases: findings.flatMap(({ file, metrics = [] }) =>
      metrics.map(({ name, metric, unit, values }) => ({
        file,
        name,
        metric,
        unit,
        ...spread(values),
        rounds: values.length,
      })),
    ),
    ratios: findings.flatMap(({ file, ratios = [] }) =>
      ratios.map(({ name, values }) => {
        const { median, min, max } = spread(values);
        return { file, name, value: median, min, max, rounds: values.length };
      }),
    ),
    notes: findings.flatMap(({ file, notes = [], error }) =>
      [...notes, ...(error ? [`failed: ${error}`] : [])].map((note) => ({ file, note })),
    ),
  };
}

/**
 * Writes the page that is kept beside the documentation: the same text and plots.
 * @param {string} docs where benchmarks.md and the folder `benchmarks` are
 */
export function publish(docs, run, findings) {
  const folder = 'benchmarks';
  rmSync(join(docs, folder), { recursive: true, force: true });
  mkdirSync(join(docs, folder));
  for (const { plots = [] } of findings) {
    for (const plot of plots) writeFileSync(join(docs, folder, plot.file), svgOf(plot));
  }
  writeFileSync(join(docs, 'benchmarks.md'), markdownOf(run, findings, `${folder}/`));
}

/** As in results.md, which also goes to the terminal; `plotsAt` is where the plots are, from there. */
export function markdownOf({ machine, date, command }, findings, plotsAt = '') {
  const { processor, processors, memoryGigabytes, system, kernel, node, busy, commit, versions } = machine;
  return [
    `# Benchmarks, ${date}`,
    `\`${command}\` on ${processors} × ${processor}, ${memoryGigabytes} GiB, ${system}, Linux ${kernel}, Node ${node}, commit ${commit}; before it began, ${Math.round(busy * 100)} % of the processors' time was others'.`,
    `Beside it: ${versions.join(', ')}.`,
    'Medians, and in brackets the least and the most; the column *of* says of how many: rounds, or of the control plane agents and moves. Ratios are taken in each round, and are medians of those.',
    ...findings.flatMap((finding) => sectionOf(finding, plotsAt)),
  ]
    .join('\n\n')
    .concat('\n');
}

function sectionOf({ title, seconds, error, metrics = [], ratios = [], plots = [], notes = [] }, plotsAt) {
  return [
    `## ${title}`,
    ...(error ? [`Failed: ${error.split('\n')[0]}`] : []),
    ...(metrics.length > 0 ? [tableOf(metrics)] : []),
    ...(ratios.length > 0
      ? [
          table(
            ['ratio', 'of', 'median of the rounds'],
            ratios.map(({ name, values }) => [name, `${values.length}`, withSpread(values)]),
          ),
        ]
      : []),
    ...plots.map(({ title: what, file }) => `![${what}](${plotsAt}${file})`),
    ...(notes.length > 0 ? [notes.map((note) => `- ${note}`).join('\n')] : []),
    `Took ${Math.round(seconds)} s.`,
  ];
}

/** One row for each thing that is compared, one column for each metric. */
function tableOf(metrics) {
  const columns = [...new Set(metrics.map(({ metric, unit }) => `${metric}, ${unit}`))];
  const names = [...new Set(metrics.map(({ name }) => name))];
  const cell = (name, column) => {
    const found = metrics.find((each) => each.name === name && `${each.metric}, ${each.unit}` === column);
    return found ? withSpread(found.values) : '';
  };
  const countsOf = (name) => {
    const counts = metrics.filter((each) => each.name === name).map(({ values }) => values.length);
    return [...new Set([Math.min(...counts), Math.max(...counts)])].join(' to ');
  };
  return table(
    ['', 'of', ...columns],
    names.map((name) => [name, countsOf(name), ...columns.map((column) => cell(name, column))]),
  );
}

function table(head, rows) {
  return [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

function withSpread(values) {
  const { median, min, max } = spread(values);
  return values.length === 1 ? short(median) : `${short(median)} (${short(min)} to ${short(max)})`;
}
