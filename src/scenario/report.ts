import type { ReplicaStatus } from '../lab/index.ts';
import type { Verdict } from './judge.ts';
import { type MeasureName, type Measures, measureMeanings } from './measures.ts';
import type { RequestRecord, RunRecords } from './records.ts';
import type { Expectation, Scenario } from './schema.ts';

export interface ExpectationOutcome {
  readonly measure: MeasureName;
  readonly value: number;
  /** As text, "at most 0". */
  readonly allowed: string;
  readonly passed: boolean;
}

/** `report.json`: what a run found. */
export interface ScenarioReport {
  readonly name: string;
  readonly description: string;
  readonly passed: boolean;
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
  readonly measures: Measures;
  readonly expectations: readonly ExpectationOutcome[];
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

export function reportOf(
  scenario: Scenario,
  records: RunRecords,
  { measures, failovers, failures }: Verdict,
  statuses: readonly (ReplicaStatus & { readonly node: string })[],
): ScenarioReport {
  const expectations = scenario.expect.map((each) => outcomeOf(each, measures));
  return {
    name: scenario.name,
    description: scenario.description,
    passed: expectations.every(({ passed }) => passed),
    replicas: records.replicas.map((name) => replicaReport(name, records, statuses)),
    requests: { total: measures['requests.total'], failed: measures['requests.failed'] },
    connections: {
      total: measures['connections.total'],
      reset: measures['connections.reset'],
      reconnected: measures['connections.reconnected'],
      broken: measures['connections.broken'],
    },
    move: { slots: measures['move.slots'], durationMs: measures['move.durationMs'] },
    failover: { gapMs: measures['failover.gapMs'], byLoss: failovers },
    measures,
    expectations,
    failures: failures.slice(0, failuresShown),
  };
}

function outcomeOf({ measure, atMost, atLeast }: Expectation, measures: Measures): ExpectationOutcome {
  const value = measures[measure];
  const bounds = [atLeast === undefined ? '' : `at least ${atLeast}`, atMost === undefined ? '' : `at most ${atMost}`];
  const passed = value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY);
  return { measure, value, allowed: bounds.filter(Boolean).join(', '), passed };
}

function replicaReport(
  name: string,
  records: RunRecords,
  statuses: readonly (ReplicaStatus & { readonly node: string })[],
): ReplicaReport {
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

/** What a person reads at the end. */
export function formatReport(report: ScenarioReport, records: RunRecords): string {
  const width = Math.max(...Object.keys(measureMeanings).map((name) => name.length));
  const replicas = report.replicas.map(
    ({ name, slots, filters, requests, cut }) =>
      `${name.padEnd(8)} ${String(slots).padStart(5)} ${String(filters.length).padStart(8)} ${String(requests).padStart(9)}${cut ? '  cut off; its share until then' : ''}`,
  );
  const measures = Object.entries(report.measures).map(([name, value]) => {
    const outcomes = report.expectations.filter(({ measure }) => measure === name);
    const mark = outcomes.map(({ allowed, passed }) => `${passed ? 'ok' : 'FAILED'}, ${allowed}`).join('; ');
    return `${name.padEnd(width)} ${String(value).padStart(8)}  ${mark}`.trimEnd();
  });
  const losses = Object.entries(report.failover.byLoss);
  const byLoss = losses.length > 1 ? losses.map(([what, gapMs]) => `failover after ${what}: ${gapMs} ms`) : [];
  return [
    'replica  slots  filters  requests',
    ...replicas,
    '',
    ...measures,
    ...byLoss,
    '',
    `${report.name}: ${report.passed ? 'passed' : 'FAILED'} (${((records.end - records.begin) / 1000).toFixed(1)} s, kernels programmed ${records.tables.length} times)`,
    '',
  ].join('\n');
}
