// Plots as SVG, without a library: bars with the spread of the rounds, and lines.

const width = 860;
const margin = { left: 300, right: 100, top: 46, bottom: 40 };
const ours = '#0072b2';
const theirs = '#999999';
/** Told apart also by those who see few colours (Okabe and Ito). */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'];

/**
 * @param {{ title: string, unit: string, bars: { label: string, median: number, min: number, max: number }[] }
 *   | { title: string, x: string, y: string, logX?: boolean, logY?: boolean, lines: { label: string, points: [number, number][] }[] }} plot
 *   bars whose label begins with "manycast" stand out
 * @returns {string} an SVG document
 */
export function svgOf(plot) {
  return 'bars' in plot ? barsSvg(plot) : linesSvg(plot);
}

function barsSvg({ title, unit, bars }) {
  const pitch = 26;
  const height = margin.top + bars.length * pitch + margin.bottom;
  const scale = scaleOf([0, ...bars.map(({ max }) => max)], false, [margin.left, width - margin.right]);
  const bottom = height - margin.bottom;
  const drawn = bars.flatMap(({ label, median, min, max }, i) => {
    const y = margin.top + i * pitch;
    const middle = y + pitch / 2 - 3;
    const end = scale.at(median);
    return [
      text(margin.left - 8, middle + 4, label, 'end'),
      `<rect x="${margin.left}" y="${y}" width="${round(end - margin.left)}" height="${pitch - 6}" fill="${label.startsWith('manycast') ? ours : theirs}"/>`,
      line([scale.at(min), middle], [scale.at(max), middle], '#222222'),
      text(scale.at(Math.max(max, median)) + 6, middle + 4, short(median)),
    ];
  });
  return documentOf(height, title, [...gridX(scale, bottom), ...drawn, text(scale.range[1], height - 4, unit, 'end')]);
}

function linesSvg({ title, x, y, logX = false, logY = false, lines }) {
  const left = 80;
  const height = 420;
  const bottom = height - margin.bottom - 10;
  const points = lines.flatMap((each) => each.points);
  const across = scaleOf(
    points.map(([value]) => value),
    logX,
    [left, width - 200],
  );
  const up = scaleOf([...(logY ? [] : [0]), ...points.map(([, value]) => value)], logY, [bottom, margin.top + 10]);
  const drawn = lines.flatMap(({ label, points: list }, i) => {
    const colour = colours[i % colours.length];
    const path = list
      .filter(([a, b]) => (!logX || a > 0) && (!logY || b > 0))
      .map(([a, b]) => `${round(across.at(a))},${round(up.at(b))}`);
    const keyY = margin.top + 16 + i * 18;
    return [
      `<polyline points="${path.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...path.map((each) => `<circle cx="${each.split(',')[0]}" cy="${each.split(',')[1]}" r="3" fill="${colour}"/>`),
      `<rect x="${width - 185}" y="${keyY - 9}" width="12" height="10" fill="${colour}"/>`,
      text(width - 168, keyY, label),
    ];
  });
  const gridY = up.ticks.flatMap((value) => [
    line([left, up.at(value)], [across.range[1], up.at(value)], '#dddddd'),
    text(left - 6, up.at(value) + 4, short(value), 'end'),
  ]);
  const names = [text(across.range[1], height - 6, x, 'end'), text(8, margin.top, y)];
  return documentOf(height, title, [...gridX(across, bottom), ...gridY, ...drawn, ...names]);
}

function gridX({ ticks, at }, bottom) {
  return ticks.flatMap((value) => [
    line([at(value), margin.top - 4], [at(value), bottom], '#dddddd'),
    text(at(value), bottom + 16, short(value), 'middle'),
  ]);
}

/** From values to pixels, with round values to label. */
function scaleOf(values, isLog, range) {
  const usable = values.filter((value) => Number.isFinite(value) && (!isLog || value > 0));
  const [low, high] = [Math.min(...usable), Math.max(...usable)];
  const of = isLog ? Math.log10 : (value) => value;
  const ticks = isLog ? powersOfTen(low, high) : roundSteps(low, high);
  const [first, last] = [of(Math.min(low, ticks[0])), of(Math.max(high, ticks.at(-1)))];
  const at = (value) => round(range[0] + ((of(value) - first) / (last - first || 1)) * (range[1] - range[0]));
  return { range, ticks, at };
}

function roundSteps(low, high) {
  const rough = (high - low || high || 1) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const first = Math.floor(low / step + 1e-9);
  const count = Math.ceil(high / step - 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function powersOfTen(low, high) {
  const first = Math.floor(Math.log10(low));
  const last = Math.max(first + 1, Math.ceil(Math.log10(high)));
  return Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
}

function documentOf(height, title, parts) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#222222">
  <rect width="${width}" height="${height}" fill="white"/>
  <text x="16" y="24" font-size="15">${escaped(title)}</text>
${parts.map((each) => `  ${each}\n`).join('')}</svg>
`;
}

function text(x, y, content, anchor = 'start') {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escaped(content)}</text>`;
}

function line([x1, y1], [x2, y2], colour) {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${colour}"/>`;
}

/** With three digits that count, thousands set apart. */
export function short(value) {
  if (!Number.isFinite(value)) return '-';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toLocaleString('en', { maximumFractionDigits: Math.min(digits, 6) });
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function escaped(content) {
  return content.replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`);
}
