import type { ReplicaStatus } from '../lab/index.ts';
import type { Verdict } from './judge.ts';
import { type MeasureName, type Measures, measureMeanings } from './measures.ts';
import type { RequestRecord, RunRecords } from './records.ts';
import type { Expectation, Scenario } from './schema.ts';
import { stepLabel } from './step-label.ts';

export interface ExpectationOutcome {
  readonly what: MeasureName;
  /** As text, "at most 0". */
  readonly want: string;
  /** Text where the simulator does not know the measure. */
  readonly got: number | typeof notMeasured;
  readonly passed: boolean;
}

export const notMeasured = 'not measured on sim';

/** Where a scenario runs: on real kernels, or in virtual time from a seed. */
export type Place = 'lab' | 'sim';

/** One step of the timeline. */
export interface TimelineEntry {
  /** Milliseconds since the clients began. */
  readonly atMs: number;
  readonly what: string;
  /** What came of it until the next, in words; empty for nothing. */
  readonly outcome: string;
}

/** What a place measures: the lab everything, the simulator less. */
export type Taken = Partial<Measures>;

/** The part of `report.json` that every run has. */
export interface ReportHead<M extends Taken = Measures> {
  readonly name: string;
  readonly description: string;
  readonly on: Place;
  readonly passed: boolean;
  readonly expectations: readonly ExpectationOutcome[];
  readonly measures: M;
  readonly timeline: readonly TimelineEntry[];
}

/** `report.json` of a scenario that did not run; it has not passed, and not failed either. */
export interface SkippedReport extends ReportHead<Taken> {
  /** Why, one line. */
  readonly skipped: string;
}

/** `report.json`: what a run found. */
export interface ScenarioReport<M extends Taken = Measures> extends ReportHead<M> {
  /** Of a run on the simulator: the same seed is the same run. */
  readonly seed?: number;
  /** The first promise of the system that a run on the simulator broke, and when. */
  readonly violation?: string;
  /** What the place has no means for, one line each. */
  readonly leftOut?: readonly string[];
  /** Slots and filters at the end; of a replica that was cut off, what it had before. Requests: those that it answered. */
  readonly replicas: readonly ReplicaReport[];
  readonly requests: { readonly total: number; readonly failed: number };
  readonly connections: {
    readonly total: number;
    readonly reset: number;
    readonly reconnected: number;
    readonly broken: number;
  };
  readonly move: { readonly slots: number; readonly durationMs: number };
  /** `byLoss`: of each way in which hosts were lost, the longest. */
  readonly failover: { readonly gapMs: number; readonly byLoss: Verdict['failovers'] };
  /** The first requests that failed for no cut, to look at. */
  readonly failures: readonly RequestRecord[];
}

export interface ReplicaReport {
  readonly name: string;
  readonly cut: boolean;
  readonly slots: number;
  readonly filters: readonly string[];
  readonly requests: number;
}

const failuresShown = 20;

/** The share of each replica, as one of them knows it. */
export interface ShareTeller {
  readonly node: string;
  readonly verdict: string;
  readonly owners: ReplicaStatus['owners'];
}

/** Of what ran at a place that takes all measures, or only those of `measured`. */
export function reportOf(
  scenario: Scenario,
  records: RunRecords,
  { measures: all, failovers, failures, story }: Verdict,
  tellers: readonly ShareTeller[],
  { on = 'lab', measured }: { readonly on?: Place; readonly measured?: ReadonlySet<MeasureName> } = {},
): ScenarioReport<Taken> {
  const taken = Object.entries(all).filter(([name]) => measured?.has(name as MeasureName) ?? true);
  const measures: Taken = Object.fromEntries(taken);
  const expectations = scenario.expect.map((each) => outcomeOf(each, measures));
  return {
    name: scenario.name,
    description: scenario.description,
    on,
    passed: expectations.every(({ passed }) => passed),
    expectations,
    measures,
    timeline: records.steps.map((step, i) => ({
      ...{ atMs: Math.round(step.at - records.begin), what: stepLabel(step) },
      outcome: story[i] ?? '',
    })),
    replicas: records.replicas.map((name) => replicaReport(name, records, tellers)),
    requests: { total: all['requests.total'], failed: all['requests.failed'] },
    connections: {
      total: all['connections.total'],
      reset: all['connections.reset'],
      reconnected: all['connections.reconnected'],
      broken: all['connections.broken'],
    },
    move: { slots: all['move.slots'], durationMs: all['move.durationMs'] },
    failover: { gapMs: all['failover.gapMs'], byLoss: failovers },
    failures: failures.slice(0, failuresShown),
  };
}

export function skippedReport({ name, description }: Scenario, on: Place, reason: string): SkippedReport {
  return { name, description, on, passed: false, skipped: reason, expectations: [], measures: {}, timeline: [] };
}

function outcomeOf({ measure, atMost, atLeast }: Expectation, measures: Taken): ExpectationOutcome {
  const value = measures[measure];
  const bounds = [atLeast === undefined ? '' : `at least ${atLeast}`, atMost === undefined ? '' : `at most ${atMost}`];
  const want = bounds.filter(Boolean).join(', ');
  if (value === undefined) return { what: measure, want, got: notMeasured, passed: true };
  const passed = value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY);
  return { what: measure, want, got: value, passed };
}

function replicaReport(name: string, records: RunRecords, statuses: readonly ShareTeller[]): ReplicaReport {
  const cut = isCut(name, records);
  const requests = records.requests.filter(({ replica }) => replica === name).length;
  // A replica that is cut off still has the map that it last heard of; the others tell theirs.
  const others = statuses.filter(({ node }) => !isCut(node, records));
  const teller = cut
    ? statuses.find(({ node }) => node === name)
    : (others.find(({ verdict }) => verdict === 'serving') ?? others[0]);
  const share = teller?.owners.find((each) => each.name === name);
  return { name, cut, slots: share?.count ?? 0, filters: share?.filters ?? [], requests };
}

/** At the end of the run. */
function isCut(name: string, { steps }: RunRecords): boolean {
  const cables = steps.filter((step) => (step.what === 'cut' || step.what === 'heal') && step.replica === name);
  return cables.at(-1)?.what === 'cut';
}

/** What a person reads of a scenario that did not run. */
export function formatSkipped({ name, skipped }: SkippedReport): string {
  return `${name}: skipped: ${skipped}\n`;
}

/** What a person reads at the end. */
export function formatReport(report: ScenarioReport<Taken>, records: RunRecords): string {
  const width = Math.max(...Object.keys(measureMeanings).map((name) => name.length));
  const replicas = report.replicas.map(
    ({ name, slots, filters, requests, cut }) =>
      `${name.padEnd(8)} ${String(slots).padStart(5)} ${String(filters.length).padStart(8)} ${String(requests).padStart(9)}${cut ? '  cut off; its share until then' : ''}`,
  );
  const measures = Object.entries(report.measures).flatMap(([name, value]) => {
    const outcomes = report.expectations.filter(({ what }) => what === name);
    // What nobody asked for and did not happen is in the file alone.
    if (value === 0 && outcomes.length === 0) return [];
    const mark = outcomes.map(({ want, passed }) => `${passed ? 'ok' : 'FAILED'}, ${want}`).join('; ');
    return `${name.padEnd(width)} ${String(value).padStart(10)}  ${mark}`.trimEnd();
  });
  const unknown = report.expectations.filter(({ got }) => got === notMeasured);
  const losses = Object.entries(report.failover.byLoss);
  const byLoss = losses.length > 1 ? losses.map(([what, gapMs]) => `failover after ${what}: ${gapMs} ms`) : [];
  const story = report.timeline.flatMap(({ atMs, what, outcome }) => [
    `${(atMs / 1000).toFixed(1).padStart(5)} s  ${what}`,
    ...(outcome === '' ? [] : [`         ${outcome}`]),
  ]);
  return [
    ...story,
    '',
    'replica  slots  filters  requests',
    ...replicas,
    '',
    ...measures,
    ...unknown.map(({ what, want }) => `${what.padEnd(width)} ${notMeasured} (${want})`),
    ...byLoss,
    ...(report.leftOut ?? []).map((each) => `left out: ${each}`),
    ...(report.violation === undefined ? [] : [`VIOLATION: ${report.violation}`]),
    '',
    `${report.name}: ${report.passed ? 'passed' : 'FAILED'} (${report.seed === undefined ? '' : `seed ${report.seed}, `}${((records.end - records.begin) / 1000).toFixed(1)} s, kernels programmed ${records.tables.length} times)`,
    '',
  ].join('\n');
}
