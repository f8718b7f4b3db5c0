/** Okabe and Ito's palette: told apart by everybody; then again, for more than eight replicas. */
const colours = ['#56b4e9', '#e69f00', '#009e73', '#f0e442', '#cc79a7', '#0072b2', '#d55e00', '#999999'] as const;
export const ink = '#222222';
const alarm = '#b00020';

export function colourOf(index: number): string {
  return colours[index % colours.length] ?? ink;
}

/** What happened to one connection or request, where it is drawn. */
export interface Mark {
  readonly kind: keyof typeof marks;
  readonly x: number;
  readonly y: number;
}

export const marks = {
  moved: {
    label: 'moves along',
    draw: (x: number, y: number) =>
      `<circle cx="${round(x)}" cy="${round(y)}" r="4.5" fill="${ink}" stroke="white" stroke-width="1.5"/>`,
  },
  reset: {
    label: 'is reset',
    draw: (x: number, y: number) => `<path d="M${round(x)} ${round(y - 5)} l5 9 h-10 z" fill="${ink}" stroke="white"/>`,
  },
  stall: {
    label: 'gets no answer',
    draw: (x: number, y: number) =>
      `<circle cx="${round(x)}" cy="${round(y)}" r="4.5" fill="white" stroke="${alarm}" stroke-width="2"/>`,
  },
  failed: {
    label: 'a request fails',
    draw: (x: number, y: number) =>
      `<path d="M${round(x - 4)} ${round(y - 4)} l8 8 m0 -8 l-8 8" stroke="${alarm}" stroke-width="2"/>`,
  },
} as const;

/** What colours and shapes mean: only those that are in the picture. */
export function legend(
  left: number,
  top: number,
  replicas: readonly string[],
  shown: { readonly sessions: boolean; readonly marks: readonly Mark['kind'][] },
): string[] {
  const row = (i: number): number => top + 12 + i * 22;
  const afterReplicas = replicas.length + 1.5;
  const sessions = shown.sessions
    ? [
        text(left, row(afterReplicas), 'An open connection has', 'font-weight="bold"'),
        text(left, row(afterReplicas + 0.75), 'the colour of its replica.', 'font-weight="bold"'),
        `<path d="M${left} ${row(afterReplicas + 1.6)} h40" stroke="${colourOf(0)}" stroke-width="3" fill="none"/>`,
      ]
    : [];
  const first = afterReplicas + (shown.sessions ? 2.75 : 0);
  return [
    text(left, row(0), 'New connections go to', 'font-weight="bold"'),
    ...replicas.flatMap((name, i) => [
      `<rect x="${left}" y="${row(i + 1) - 11}" width="14" height="14" fill="${colourOf(i)}" fill-opacity="0.45" stroke="${ink}"/>`,
      text(left + 22, row(i + 1), name),
    ]),
    ...sessions,
    ...shown.marks.flatMap((kind, i) => [
      marks[kind].draw(left + 7, row(first + i) - 4),
      text(left + 22, row(first + i), marks[kind].label),
    ]),
  ];
}

export function text(x: number, y: number, words: string, attributes = ''): string {
  return `<text x="${round(x)}" y="${round(y)}"${attributes === '' ? '' : ` ${attributes}`}>${escaped(words)}</text>`;
}

/** In lines of at most so many characters, but for longer words. */
export function wrapped(words: string, charactersMax: number): string[] {
  const lines: string[] = [];
  for (const word of words.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= charactersMax)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
