import type { Measures } from './measures.ts';
import type { RunRecords } from './records.ts';

/** How long there was no service, from the first step on: what came before is the beginning of everything at once. */
export function serviceMeasures({
  begin,
  end,
  steps,
  probes,
  pings,
}: RunRecords): Pick<Measures, 'served.gapMs' | 'served.refused' | 'ping.gapMs' | 'ping.lost'> {
  const from = steps[0]?.at ?? begin;
  const openedBy = new Map<string, number[]>();
  for (const { client, at, durationMs, opened } of probes) {
    const times = openedBy.get(client) ?? [];
    openedBy.set(client, times);
    if (opened) times.push(at + durationMs);
  }
  const gaps = [...openedBy.values()].map((times) => longestPause(from, end, times));
  const pauses = pings.filter(({ at }) => at > from).map(({ at, gapMs }) => Math.min(gapMs, at - from));
  return {
    'served.gapMs': Math.round(Math.max(0, ...gaps)),
    'served.refused': probes.filter(({ opened }) => !opened).length,
    'ping.gapMs': Math.round(Math.max(0, ...pauses)),
    'ping.lost': pings.reduce((sum, { lost }) => sum + lost, 0),
  };
}

/** Between `from` and `end`, with both as ends of pauses. */
function longestPause(from: number, end: number, times: readonly number[]): number {
  const within = times.filter((time) => time > from && time < end).sort((a, b) => a - b);
  const bounds = [from, ...within, end];
  return bounds.slice(1).reduce((longest, time, i) => Math.max(longest, time - (bounds[i] ?? time)), 0);
}
