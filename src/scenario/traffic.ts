import type { Measures } from './measures.ts';
import type { RunRecords, WaitRecord } from './records.ts';

type Traffic = Pick<
  Measures,
  | 'stall.p50Ms'
  | 'stall.p99Ms'
  | 'stall.maxMs'
  | 'bytes.checked'
  | 'bytes.wrong'
  | 'datagrams.sent'
  | 'datagrams.lost'
  | 'datagrams.wrong'
  | 'datagrams.moved'
  | 'datagrams.forgotten'
  | 'datagrams.begun'
  | 'commands.run'
  | 'commands.failed'
  | 'commands.exitCode'
  | 'slots.unsettled'
>;

/** What became of bytes, datagrams and commands, and how long sessions waited, but those in `cut`, which were lost with a host. */
export function trafficMeasures(records: RunRecords, cut: ReadonlySet<string>): Traffic {
  const { begin, steps, waits, bytes, datagrams, commands, slotsUnsettled } = records;
  const stalls = stallsOf(
    waits.filter(({ session }) => !cut.has(session)),
    steps[0]?.at ?? begin,
  );
  const sum = <T>(all: readonly T[], of: (each: T) => number): number =>
    all.reduce((total, each) => total + of(each), 0);
  return {
    'stall.p50Ms': Math.round(percentile(stalls, 0.5)),
    'stall.p99Ms': Math.round(percentile(stalls, 0.99)),
    'stall.maxMs': Math.round(percentile(stalls, 1)),
    'bytes.checked': sum(bytes, ({ checked }) => checked),
    'bytes.wrong': sum(bytes, ({ wrong }) => wrong),
    'datagrams.sent': sum(datagrams, ({ sent }) => sent),
    'datagrams.lost': sum(datagrams, ({ lost }) => lost),
    'datagrams.wrong': sum(datagrams, ({ wrong }) => wrong),
    'datagrams.moved': sum(datagrams, ({ moved }) => moved),
    'datagrams.forgotten': sum(datagrams, ({ forgotten }) => forgotten),
    'datagrams.begun': sum(datagrams, ({ begun }) => begun.length),
    'commands.run': commands.length,
    'commands.failed': commands.filter(({ exitCode }) => exitCode !== 0).length,
    'commands.exitCode': Math.max(0, ...commands.map(({ exitCode }) => exitCode)),
    'slots.unsettled': slotsUnsettled,
  };
}

/** Of each session the longest wait, from the first step on, ascending. */
function stallsOf(waits: readonly WaitRecord[], from: number): number[] {
  const longest = new Map<string, number>();
  for (const { session, at, waitMs } of waits) {
    if (at > from) longest.set(session, Math.max(longest.get(session) ?? 0, Math.min(waitMs, at - from)));
  }
  return [...longest.values()].sort((a, b) => a - b);
}

/** The least value that so large a part of all does not exceed; 0 of none. */
function percentile(ascending: readonly number[], part: number): number {
  return ascending[Math.ceil(part * ascending.length) - 1] ?? 0;
}
