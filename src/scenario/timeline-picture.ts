import { slotRanges } from '../space/index.ts';
import { lapsesOf } from './lapses.ts';
import { ownershipFrom } from './ownership.ts';
import { colourOf, ink, legend, type Mark, marks, round, text, wrapped } from './picture-parts.ts';
import type { RunRecords, SessionRecord, StepRecord } from './records.ts';
import { stepLabel } from './step-label.ts';
import { isOpen, sessionsOf } from './story.ts';

const width = 1080;
const plot = { left: 64, top: 96, width: 800, height: 400 } as const;
const rowHeight = 21;
const titleCharacters = 118;
const storyCharacters = 150;
/** Lines of more sessions than this would hide what is below them. */
const sessionsShownMax = 48;
const alarm = '#b00020';
const quiet = '#666666';
const harmless: readonly StepRecord['what'][] = [
  ...(['policy', 'move', 'drain', 'undrain', 'upgrade'] as const),
  ...(['heal', 'continue', 'restart', 'leave', 'withdraw'] as const),
];

export interface TimelineWords {
  readonly title: string;
  /** What came of each step, in their order. */
  readonly story: readonly string[];
  /** What the place has no means for, one line each. */
  readonly leftOut: readonly string[];
}

/**
 * Slots by owner over time, as the kernels were programmed; above them open connections, in the colour of the replica that has each; steps of the timeline, with what came of them below; resets,
 * stalls and failed requests where they hit. An SVG document.
 */
export function timelinePicture(
  { title, story, leftOut }: TimelineWords,
  records: RunRecords,
  slotCount: number,
  slotOfClient: (client: string) => number,
): string {
  const { begin, end } = records;
  const x = (at: number): number =>
    plot.left + ((Math.min(Math.max(at, begin), end) - begin) / (end - begin)) * plot.width;
  const y = (slot: number): number => plot.top + (slot / slotCount) * plot.height;
  const yOf = (client: string): number => y(slotOfClient(client) + 0.5);
  const below = storyRows(records, story, leftOut);
  const height = plot.top + plot.height + 62 + below.length * rowHeight;
  const hits = hitsOf(records, x, yOf);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="${ink}">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...wrapped(title, titleCharacters).map((line, i) => text(plot.left, 28 + i * 20, line, 'font-size="16"')),
    '<g shape-rendering="crispEdges" fill-opacity="0.45">',
    ...shares(records, x, y),
    '</g>',
    ...sessionLines(records, x, yOf),
    ...axes(records, x, y, slotCount),
    ...stepLines(records, x),
    ...hits.map(({ kind, x, y }) => marks[kind].draw(x, y)),
    ...legend(plot.left + plot.width + 24, plot.top, records.replicas, {
      sessions: records.sessions.length > 0,
      marks: [...new Set(hits.map(({ kind }) => kind))],
    }),
    ...below,
    '</svg>',
    '',
  ].join('\n');
}

type Scale = (value: number) => number;

function shares(records: RunRecords, x: Scale, y: Scale): string[] {
  const ownership = ownershipFrom(records.tables, lapsesOf(records));
  return records.replicas.flatMap((replica, i) =>
    ownership.spansOf(replica).flatMap(({ certain, until, slots }) => {
      const end = Math.min(until, records.end);
      return certain < end ? blocks(slots, x(certain), x(end), y, colourOf(i)) : [];
    }),
  );
}

function blocks(slots: ReadonlySet<number>, left: number, right: number, y: Scale, colour: string): string[] {
  return slotRanges(slots).map(
    ([first, last]) =>
      `<rect x="${round(left)}" y="${round(y(first))}" width="${round(right - left)}" height="${round(y(last + 1) - y(first))}" fill="${colour}"/>`,
  );
}

/** Of the sessions, or evenly of so many of them as can be seen, a line as long as each is open. */
function sessionLines(records: RunRecords, x: Scale, yOf: (client: string) => number): string[] {
  const all = sessionsOf(records);
  const every = Math.ceil(all.length / sessionsShownMax);
  return all
    .filter((_, i) => i % every === 0)
    .flatMap((events) => events.flatMap((event, i) => sessionLine(event, events[i + 1], records, x, yOf)));
}

function sessionLine(
  event: SessionRecord,
  next: SessionRecord | undefined,
  { replicas, end }: RunRecords,
  x: Scale,
  yOf: (client: string) => number,
): string[] {
  if (!isOpen(event)) return [];
  const line = `d="M${round(x(event.at))} ${round(yOf(event.client))} H${round(x(next?.at ?? end))}" fill="none"`;
  const colour = colourOf(replicas.indexOf(event.replica ?? ''));
  return [`<path ${line} stroke="white" stroke-width="5"/>`, `<path ${line} stroke="${colour}" stroke-width="3"/>`];
}

function axes({ begin, end }: RunRecords, x: Scale, y: Scale, slotCount: number): string[] {
  const bottom = plot.top + plot.height;
  const everySeconds = end - begin > 40_000 ? 10 : 2;
  const count = Math.floor((end - begin) / 1000 / everySeconds) + 1;
  const seconds = Array.from({ length: count }, (_, i) => i * everySeconds);
  const slots = [0, 0.25, 0.5, 0.75, 1].map((part) => Math.round(part * slotCount));
  const middle = plot.top + plot.height / 2;
  return [
    `<rect x="${plot.left}" y="${plot.top}" width="${plot.width}" height="${plot.height}" fill="none" stroke="${ink}"/>`,
    ...seconds.map((each) => text(x(begin + each * 1000), bottom + 18, `${each}`, 'text-anchor="middle"')),
    text(plot.left + plot.width, bottom + 36, 'seconds', 'text-anchor="end"'),
    ...slots.map((slot) => text(plot.left - 8, y(slot) + 4, `${slot}`, 'text-anchor="end"')),
    text(
      16,
      middle,
      'slot: the last byte of a client’s address',
      `text-anchor="middle" transform="rotate(-90 16 ${middle})"`,
    ),
  ];
}

/** Each with its number, which the story below repeats. */
function stepLines(records: RunRecords, x: Scale): string[] {
  return records.steps.flatMap((step, i) => {
    const at = round(x(step.at));
    const colour = colourOfStep(step);
    return [
      `<line x1="${at}" y1="${plot.top - 8}" x2="${at}" y2="${plot.top + plot.height}" stroke="${colour}" stroke-width="1.5" stroke-dasharray="5 3"/>`,
      ...numbered(at, plot.top - 18, i + 1, colour),
    ];
  });
}

function numbered(x: number, y: number, number: number, colour: string): string[] {
  return [
    `<circle cx="${x}" cy="${y}" r="9" fill="${colour}"/>`,
    text(x, y + 4, `${number}`, 'text-anchor="middle" fill="white" font-size="11"'),
  ];
}

/** A line for each step and one for what came of it, from below the axis on. */
function storyRows({ steps, begin }: RunRecords, story: readonly string[], leftOut: readonly string[]): string[] {
  const top = plot.top + plot.height + 60;
  let row = 0;
  const told = steps.flatMap((step, i) => {
    const y = top + row++ * rowHeight;
    const outcome = story[i] ?? '';
    const what = [
      ...numbered(plot.left + 9, y - 4, i + 1, colourOfStep(step)),
      text(plot.left + 64, y, `${((step.at - begin) / 1000).toFixed(1)} s`, 'text-anchor="end"'),
      text(plot.left + 78, y, stepLabel(step), 'font-weight="bold"'),
    ].join('');
    const lines = outcome === '' ? [] : wrapped(outcome, storyCharacters);
    return [what, ...lines.map((line) => text(plot.left + 78, top + row++ * rowHeight - 3, line, `fill="${quiet}"`))];
  });
  return [...told, ...leftOut.map((each) => text(plot.left, top + row++ * rowHeight, `left out: ${each}`))];
}

function hitsOf({ sessions, requests }: RunRecords, x: Scale, yOf: (client: string) => number): Mark[] {
  const ended = sessions.flatMap(({ what, at, client }): Mark[] =>
    what === 'reset' || what === 'stall' || what === 'moved' ? [{ kind: what, x: x(at), y: yOf(client) }] : [],
  );
  const failures = requests
    .filter(({ failure }) => failure !== null)
    .map(({ at, durationMs, client }): Mark => ({ kind: 'failed', x: x(at + durationMs), y: yOf(client) }));
  return [...ended, ...failures];
}

function colourOfStep({ what }: StepRecord): string {
  return harmless.includes(what) ? ink : alarm;
}
