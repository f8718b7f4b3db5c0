import { slotRanges } from '../space/index.ts';
import { lapsesOf } from './lapses.ts';
import { ownershipFrom } from './ownership.ts';
import type { RunRecords, StepRecord } from './records.ts';
import { stepLabel } from './step-label.ts';

const size = { width: 1000, height: 520 } as const;
const plot = { left: 64, top: 64, width: 800, height: 400 } as const;
/** Okabe and Ito's palette: told apart by everybody; then again, for more than eight replicas. */
const colours = ['#56b4e9', '#e69f00', '#009e73', '#f0e442', '#cc79a7', '#0072b2', '#d55e00', '#999999'] as const;
const ink = '#222222';
const alarm = '#b00020';
const harmless: readonly StepRecord['what'][] = [
  ...(['policy', 'move', 'drain', 'undrain', 'upgrade'] as const),
  ...(['heal', 'continue', 'restart', 'leave'] as const),
];

/** Slots by owner over time, as the kernels were programmed; steps of the timeline; resets, stalls and failed requests where they hit. An SVG document. */
export function timelinePicture(
  title: string,
  records: RunRecords,
  slotCount: number,
  slotOfClient: (client: string) => number,
): string {
  const { begin, end } = records;
  const x = (at: number): number =>
    plot.left + ((Math.min(Math.max(at, begin), end) - begin) / (end - begin)) * plot.width;
  const y = (slot: number): number => plot.top + (slot / slotCount) * plot.height;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12" fill="${ink}">`,
    `<rect width="${size.width}" height="${size.height}" fill="white"/>`,
    `<text x="${plot.left}" y="24" font-size="16">${escaped(title)}</text>`,
    '<g shape-rendering="crispEdges">',
    ...shares(records, x, y),
    '</g>',
    ...axes(records, x, y, slotCount),
    ...steps(records, x),
    ...marks(records, x, (client) => y(slotOfClient(client) + 0.5)),
    ...legend(records),
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

function axes({ begin, end }: RunRecords, x: Scale, y: Scale, slotCount: number): string[] {
  const bottom = plot.top + plot.height;
  const everySeconds = end - begin > 40_000 ? 10 : 2;
  const seconds = Array.from(
    { length: Math.floor((end - begin) / 1000 / everySeconds) + 1 },
    (_, i) => i * everySeconds,
  );
  const slots = [0, 0.25, 0.5, 0.75, 1].map((part) => Math.round(part * slotCount));
  return [
    `<rect x="${plot.left}" y="${plot.top}" width="${plot.width}" height="${plot.height}" fill="none" stroke="${ink}"/>`,
    ...seconds.map(
      (each) => `<text x="${round(x(begin + each * 1000))}" y="${bottom + 18}" text-anchor="middle">${each}</text>`,
    ),
    `<text x="${plot.left + plot.width / 2}" y="${bottom + 40}" text-anchor="middle">seconds</text>`,
    ...slots.map((slot) => `<text x="${plot.left - 8}" y="${round(y(slot) + 4)}" text-anchor="end">${slot}</text>`),
    `<text x="16" y="${plot.top + plot.height / 2}" text-anchor="middle" transform="rotate(-90 16 ${plot.top + plot.height / 2})">slot</text>`,
  ];
}

function steps(records: RunRecords, x: Scale): string[] {
  return records.steps.flatMap((step) => {
    const colour = harmless.includes(step.what) ? ink : alarm;
    const at = round(x(step.at));
    return [
      `<line x1="${at}" y1="${plot.top - 8}" x2="${at}" y2="${plot.top + plot.height}" stroke="${colour}" stroke-width="1.5" stroke-dasharray="5 3"/>`,
      `<text x="${at}" y="${plot.top - 14}" text-anchor="middle" fill="${colour}">${escaped(stepLabel(step))}</text>`,
    ];
  });
}

function marks({ sessions, requests }: RunRecords, x: Scale, yOf: (client: string) => number): string[] {
  const resets = sessions.filter(({ what }) => what === 'reset').map((each) => reset(x(each.at), yOf(each.client)));
  const stalls = sessions.filter(({ what }) => what === 'stall').map((each) => stall(x(each.at), yOf(each.client)));
  const failures = requests
    .filter(({ failure }) => failure !== null)
    .map((each) => failed(x(each.at + each.durationMs), yOf(each.client)));
  return [...resets, ...stalls, ...failures];
}

function legend({ replicas }: RunRecords): string[] {
  const left = plot.left + plot.width + 20;
  const row = (i: number): number => plot.top + 14 + i * 22;
  const last = replicas.length;
  return [
    ...replicas.flatMap((name, i) => [
      `<rect x="${left}" y="${row(i) - 11}" width="14" height="14" fill="${colourOf(i)}" stroke="${ink}"/>`,
      `<text x="${left + 22}" y="${row(i)}">${escaped(name)}</text>`,
    ]),
    ...[
      { shape: reset, label: 'session reset' },
      { shape: stall, label: 'session stalled' },
      { shape: failed, label: 'request failed' },
    ].flatMap(({ shape, label }, i) => [
      shape(left + 7, row(last + 1 + i) - 4),
      `<text x="${left + 22}" y="${row(last + 1 + i)}">${label}</text>`,
    ]),
  ];
}

function reset(x: number, y: number): string {
  return `<path d="M${round(x)} ${round(y - 5)} l5 9 h-10 z" fill="${ink}" stroke="white"/>`;
}

function stall(x: number, y: number): string {
  return `<circle cx="${round(x)}" cy="${round(y)}" r="4.5" fill="white" stroke="${alarm}" stroke-width="2"/>`;
}

function failed(x: number, y: number): string {
  return `<path d="M${round(x - 4)} ${round(y - 4)} l8 8 m0 -8 l-8 8" stroke="${alarm}" stroke-width="2"/>`;
}

function colourOf(index: number): string {
  return colours[index % colours.length] ?? ink;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
