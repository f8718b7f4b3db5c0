import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { parseIp } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import { captureAtSwitch, type Lab, labDown, labUp, type ReplicaStatus, setCable } from '../lab/index.ts';
import { askAgent, askAgentOnce } from '../platform/agent-client.ts';
import { type Partition, parseSlots, partitionOf, slotOf } from '../space/index.ts';
import { startClients } from './clients.ts';
import { judge } from './judge.ts';
import type { RequestRecord, RunRecords, SessionRecord, StepRecord, TableRecord } from './records.ts';
import { reportOf, type ScenarioReport } from './report.ts';
import type { Scenario } from './schema.ts';
import { serversFor } from './servers.ts';
import { timelinePicture } from './timeline-picture.ts';

export interface RunOptions {
  readonly onProgress: (line: string) => void;
  /** Aborting ends the run and takes everything down. */
  readonly signal: AbortSignal;
}

export interface ScenarioRun {
  readonly report: ScenarioReport;
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
    serve: servers.map(({ command }) => command),
    ports: servers.map(({ port }) => port),
    policy: stringify(scenario.policy),
    onProgress,
    signal,
  });
  try {
    onProgress(`servers: ${servers.map(({ description }) => description).join(', ')}`);
    const records = await record(scenario, lab, onProgress, signal);
    const statuses = await Promise.all(lab.plan.replicas.map(({ name }) => statusOf(lab, name)));
    const { measures, failures } = judge(records, slotOfClient);
    return {
      report: reportOf(
        scenario,
        records,
        measures,
        failures,
        statuses.filter((each) => each !== null),
      ),
      records,
    };
  } finally {
    onProgress('taking the network down');
    await labDown(scenario.name);
  }
}

/** Writes `report.json` and `timeline.svg`. */
export function writeReport(directory: string, { report, records }: ScenarioRun): void {
  const title = `${report.name}: ${report.description}`;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  const picture = timelinePicture(title, records, partition.slotCount, slotOfClient);
  writeFileSync(join(directory, 'timeline.svg'), picture);
}

function slotOfClient(client: string): number {
  const address = parseIp(client);
  return slotOf(partition, defined(address.ok ? address.value : null, 'an address of the lab'));
}

async function record(
  scenario: Scenario,
  lab: Lab,
  onProgress: (line: string) => void,
  signal: AbortSignal,
): Promise<RunRecords> {
  const requests: RequestRecord[] = [];
  const sessions: SessionRecord[] = [];
  const tables: TableRecord[] = [];
  const steps: StepRecord[] = [];
  const watching = new AbortController();
  const watchers = Promise.all(
    lab.plan.replicas.map(({ name }) => watchTables(lab.socketOf(name), name, tables, watching.signal)),
  );
  // Looked at in the end; until then a failure of it must not end the program, which has a network to take down.
  watchers.catch(() => {});
  const capture = await captureAtSwitch(lab.plan);
  const begin = unixMs();
  const clients = startClients(lab.plan, scenario.workloads, (each) => {
    if (each.kind === 'request') requests.push(each);
    else sessions.push(each);
  });
  const summary = (): void => {
    const good = requests.filter(({ failure }) => failure === null).length;
    const opened = sessions.filter(({ what }) => what === 'open').length;
    onProgress(
      `${seconds(begin)}  ${good} requests answered, ${requests.length - good} failed; ${opened} sessions opened`,
    );
  };
  const progress = setInterval(summary, progressMs);
  try {
    for (const step of scenario.timeline) {
      if ('wait' in step) await delay(step.wait * 1000, undefined, { signal });
      else if ('policy' in step) {
        steps.push({ what: 'policy', at: unixMs(), label: `policy ${step.policy.strategy}` });
        onProgress(`${seconds(begin)}  policy saved: ${JSON.stringify(step.policy)}`);
        savePolicy(lab, stringify(step.policy));
      } else {
        onProgress(`${seconds(begin)}  ${step.cut} cut off`);
        steps.push({ what: 'cut', at: unixMs(), replica: step.cut });
        setCable(lab.plan, step.cut, 'down');
      }
    }
    const end = unixMs();
    await clients.end();
    const { segments, drops } = await capture.end();
    return {
      ...{ begin, end, requests, sessions, tables, steps, segments, drops },
      replicas: lab.plan.replicas.map(({ name }) => name),
      sessionsAsked: scenario.workloads.reduce((sum, each) => sum + (each.kind === 'tcp-echo' ? each.sessions : 0), 0),
    };
  } finally {
    clearInterval(progress);
    watching.abort();
    await watchers;
  }
}

/** As an editor does: written aside, then renamed over the old one. */
function savePolicy(lab: Lab, text: string): void {
  writeFileSync(`${lab.policyFile}.new`, text, { mode: 0o600 });
  renameSync(`${lab.policyFile}.new`, lab.policyFile);
}

/** What a replica's kernel accepts, from now until `signal`. */
async function watchTables(socket: string, replica: string, tables: TableRecord[], signal: AbortSignal): Promise<void> {
  try {
    for await (const line of askAgent(socket, 'GET', '/v1/events', '', signal)) {
      if (line.type !== 'table') continue;
      const slots = parseSlots(String(line.slots), partition.slotCount);
      tables.push({
        replica,
        begin: Number(line.begin),
        end: Number(line.end),
        slots: new Set(defined(slots.ok ? slots.value : null, 'slots that exist')),
      });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (!signal.aborted) throw new OperatingError('scenario', `the agent of ${replica} ended early`);
}

async function statusOf(lab: Lab, replica: string): Promise<(ReplicaStatus & { node: string }) | null> {
  return askAgentOnce<ReplicaStatus & { node: string }>(lab.socketOf(replica), 'GET', '/v1/status').catch(() => null);
}

function defaultPartition(): Partition {
  const made = partitionOf({ family: 4, value: 0xffn });
  return defined(made.ok ? made.value : null, 'the default mask');
}

function unixMs(): number {
  return performance.timeOrigin + performance.now();
}

function seconds(begin: number): string {
  return `${((unixMs() - begin) / 1000).toFixed(1).padStart(5)} s`;
}
