import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { addressOf } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import { captureAtSwitch, type Lab, labDown, labUp, type ReplicaStatus } from '../lab/index.ts';
import { askAgentOnce } from '../platform/agent-client.ts';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import { type Partition, partitionOf, slotOf } from '../space/index.ts';
import { clientRecords } from './client-records.ts';
import { startClients } from './clients.ts';
import { openImpostor } from './impostor.ts';
import { judge } from './judge.ts';
import { missingNeed } from './needs.ts';
import type { RunRecords, StepRecord, TableRecord } from './records.ts';
import type { RepetitionReport } from './repetition.ts';
import { reportOf, type ScenarioReport, type SkippedReport, type Taken } from './report.ts';
import { watchRouting } from './routing-watch.ts';
import { type Scenario, transfers } from './schema.ts';
import { preparationsOf, serversFor } from './servers.ts';
import { stepLabel } from './step-label.ts';
import { createStepper } from './steps.ts';
import { watchTables } from './table-watch.ts';
import { timelinePicture } from './timeline-picture.ts';
import { unsettledSlots } from './unsettled.ts';
import type { Workload } from './workload-schema.ts';

export interface RunOptions {
  readonly onProgress: (line: string) => void;
  /** Aborting ends the run and takes everything down. */
  readonly signal: AbortSignal;
}

export interface ScenarioRun {
  readonly report: ScenarioReport<Taken>;
  readonly records: RunRecords;
}

/** Slots as the lab's agents count them: by the default mask. */
const partition = defaultPartition();
const progressMs = 2000;

/** Builds the network, does what the timeline says while the clients work, and judges what was recorded. Always takes the network down. */
export async function runScenario(scenario: Scenario, { onProgress, signal }: RunOptions): Promise<ScenarioRun> {
  const servers = serversFor(scenario.workloads);
  const lab = await labUp({
    name: scenario.name,
    ...scenario.topology,
    prepare: preparationsOf(scenario.workloads),
    serve: servers.map(({ command }) => command),
    ports: servers.map(({ port }) => port),
    awaited: servers.map(({ port }) => port),
    checked: servers.flatMap(({ port, checked }) => (checked ? [port] : [])),
    certified: transfers(scenario),
    delivery: scenario.delivery,
    joins: {
      arePublic: scenario.access === 'public',
      fromClients: scenario.timeline.some((step) => 'impostor' in step && step.impostor.join === 'other-link'),
    },
    ...(scenario.udpIdle === undefined ? {} : { udpIdle: scenario.udpIdle }),
    policy: stringify(scenario.policy),
    onProgress,
    signal,
  });
  try {
    onProgress(`servers: ${servers.map(({ description }) => description).join(', ')}`);
    const { expected, leftOut } = expectedHere(scenario);
    for (const each of leftOut) onProgress(`left out: ${each}`);
    const records = await record(scenario, lab, onProgress, signal);
    const statuses = await statusesOf(lab);
    const report = reportOf(expected, records, judge(records, slotOfClient), statuses);
    return { report: leftOut.length > 0 ? { ...report, leftOut } : report, records };
  } finally {
    onProgress('taking the network down');
    await labDown(scenario.name);
  }
}

/** What this machine can be expected to show, and why not the rest, one line each. */
function expectedHere(scenario: Scenario): { readonly expected: Scenario; readonly leftOut: readonly string[] } {
  const reasons = scenario.expect.map(({ needs = [] }) => missingNeed(needs));
  const leftOut = scenario.expect.flatMap(({ measure }, i) => (reasons[i] ? [`${measure}, as ${reasons[i]}`] : []));
  return { expected: { ...scenario, expect: scenario.expect.filter((_, i) => !reasons[i]) }, leftOut };
}

/** Writes `report.json` and `timeline.svg`. */
export function writeReport(directory: string, { report, records }: ScenarioRun): void {
  const title = `${report.name}: ${report.description}`;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  const story = report.timeline.map(({ outcome }) => outcome);
  const picture = timelinePicture(
    { title, story, leftOut: report.leftOut ?? [] },
    records,
    partition.slotCount,
    slotOfClient,
  );
  writeFileSync(join(directory, 'timeline.svg'), picture);
}

/** Writes `report.json` alone: there is nothing to see of what did not run. */
export function writeSkipped(directory: string, report: SkippedReport): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
}

/** Writes `report.json` alone: a picture shows one run. */
export function writeRepetition(directory: string, repetition: RepetitionReport<Taken>): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'report.json'), `${JSON.stringify(repetition, null, 2)}\n`);
}

function slotOfClient(client: string): number {
  return slotOf(partition, addressOf(client));
}

async function record(
  scenario: Scenario,
  lab: Lab,
  onProgress: (line: string) => void,
  signal: AbortSignal,
): Promise<RunRecords> {
  const tables: TableRecord[] = [];
  const steps: StepRecord[] = [];
  const seen = clientRecords();
  const watching = new AbortController();
  const watchers = watchAllTables(lab, (table) => tables.push(table), watching.signal);
  const capture = await captureAtSwitch(lab.plan);
  const impostor = scenario.timeline.some((step) => 'impostor' in step) ? await openImpostor(lab) : null;
  const routing = await watchRouting(lab, partition);
  const begin = unixMs();
  const clients = startClients(lab.plan, scenario.workloads, seen.add);
  const progress = setInterval(() => {
    const summary = seen.summary();
    if (summary !== '') onProgress(`${seconds(begin)}  ${summary}`);
  }, progressMs);
  const onStep = (step: StepRecord): void => {
    onProgress(`${seconds(begin)}  ${stepLabel(step)}`);
    steps.push(step);
  };
  const stepper = createStepper(lab, signal, onStep, {
    moved: seen.moved,
    impostor: (wish) => routing.judged(() => defined(impostor, 'one that is told').send(wish)),
  });
  try {
    for (const step of scenario.timeline) await stepper.take(step);
    const end = unixMs();
    stepper.checkAgents();
    const statuses = await statusesOf(lab);
    const slotsUnsettled = unsettledSlots(statuses, partition.slotCount);
    const routed = await routing.end(sharesOf(statuses));
    await clients.end();
    const { segments, drops } = await capture.end();
    if (segments.length === 0 && seen.records.requests.some(({ replica }) => replica !== null)) {
      throw new OperatingError('capture', 'the capture at the switch saw none of the connections that were answered');
    }
    return {
      ...{ begin, end, ...seen.records, tables, steps, segments, drops },
      replicas: lab.plan.replicas.map(({ name }) => name),
      sessionsAsked: sessionsAskedBy(scenario.workloads),
      slotsUnsettled,
      routing: routed,
    };
  } finally {
    stepper.close();
    impostor?.close();
    routing.close();
    clearInterval(progress);
    watching.abort();
    await watchers;
  }
}

function watchAllTables(lab: Lab, onTable: (table: TableRecord) => void, signal: AbortSignal): Promise<unknown> {
  const watchers = Promise.all(
    lab.plan.replicas.map(({ name }) => watchTables(lab.socketOf(name), name, partition, onTable, signal)),
  );
  // Looked at in the end; until then a failure of it must not end the program, which has a network to take down.
  watchers.catch(() => {});
  return watchers;
}

/** Long-lived connections that workloads keep open. */
export function sessionsAskedBy(workloads: readonly Workload[]): number {
  return workloads.reduce((sum, each) => {
    if (each.kind === 'tcp-echo') return sum + each.sessions;
    return each.kind === 'stream' ? sum + each.streams : sum;
  }, 0);
}

/** As the agent says that knows the newest ledger. */
function sharesOf(statuses: readonly ReplicaStatus[]): ReplicaStatus['owners'] {
  return [...statuses].sort((a, b) => b.epoch - a.epoch)[0]?.owners ?? [];
}

/** Of all agents that answer. */
async function statusesOf(lab: Lab): Promise<(ReplicaStatus & { readonly node: string })[]> {
  const statuses = await Promise.all(lab.plan.replicas.map(({ name }) => statusOf(lab, name)));
  return statuses.filter((each) => each !== null);
}

async function statusOf(lab: Lab, replica: string): Promise<(ReplicaStatus & { node: string }) | null> {
  return askAgentOnce<ReplicaStatus & { node: string }>(lab.socketOf(replica), 'GET', '/v1/status').catch(() => null);
}

function defaultPartition(): Partition {
  const made = partitionOf({ family: 4, value: 0xffn });
  return defined(made.ok ? made.value : null, 'the default mask');
}

function unixMs(): number {
  return unixMsOf(performance.now());
}

function seconds(begin: number): string {
  return `${((unixMs() - begin) / 1000).toFixed(1).padStart(5)} s`;
}
