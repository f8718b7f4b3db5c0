import { addressOf } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { planLab } from '../lab/index.ts';
import type { Policy } from '../policy/index.ts';
import { coverSlots, formatFilter, formatSlots, type Partition, partitionOf, slotOf } from '../space/index.ts';
import { clientRecords } from './client-records.ts';
import { judge } from './judge.ts';
import { type MeasureName, measureNames } from './measures.ts';
import type { RunRecords, StepRecord, TableRecord } from './records.ts';
import { reportOf, type ShareTeller } from './report.ts';
import { noRouting } from './routing.ts';
import { type ScenarioRun, sessionsAskedBy } from './run.ts';
import { policiesOf, type Scenario } from './schema.ts';
import { isSimulated, type SimulatedClients, startSimulatedClients } from './sim-clients.ts';
import { createSimulatedStepper, unknownStep } from './sim-steps.ts';
import type { SimulatedStatus, Simulation, Simulator } from './simulation.ts';
import type { Workload } from './workload-schema.ts';

const mask = '0.0.0.255';
/** What is under way at the end of the timeline has so long to be answered. */
const patienceMs = 10_000;
const lookMs = 20;

/** Why the simulator cannot run a scenario, one line; null when it can. */
export function unfitForSim(scenario: Scenario): string | null {
  const { workloads, timeline } = scenario;
  if (scenario.delivery !== 'segment') return `the simulator has no ${scenario.delivery} delivery`;
  if (policiesOf(scenario).some(({ handoff }) => handoff === 'transfer')) return 'the simulator has no sockets to move';
  const step = timeline.map(unknownStep).find((each) => each !== null);
  if (step) return `the simulator has no step ${step}`;
  return workloads.some(isSimulated) ? null : `the simulator has no workload ${kindsLeftOut(workloads).join(', ')}`;
}

/** Runs a scenario in virtual time, all of it decided by a seed: the same steps, the same judgement of the same records. */
export async function runOnSim(scenario: Scenario, seed: number, simulator: Simulator): Promise<ScenarioRun> {
  const partition = partitionBy(mask);
  const plan = planLab({ name: scenario.name, ...scenario.topology });
  const addresses = plan.clients.flatMap((client) => client.addresses);
  const tables: TableRecord[] = [];
  const segments: RunRecords['segments'][number][] = [];
  const policies = policiesOf(scenario);
  let now = (): number => 0;
  const simulation = await simulator({
    ...{ seed, mask, policy: scenario.policy, clients: addresses.map(addressOf) },
    replicas: scenario.topology.replicas,
    ...promisesOf(policies),
    watch: {
      table: (replica, table) => tables.push({ replica, ...table }),
      segment: (kind, client, clientPort, from) =>
        // A port is used once: the sequence number tells no more.
        segments.push({
          kind,
          at: now(),
          port: from ?? 'client',
          client,
          clientPort,
          sequence: kind === 'rst' ? null : 0,
        }),
    },
  });
  now = () => simulation.now;
  const slotOfClient = (client: string): number => slotOf(partition, addressOf(client));
  const records: RunRecords = {
    ...(await record(scenario, simulation, addresses)),
    ...{ tables, segments, drops: 0 },
  };
  const report = reportOf(
    scenario,
    records,
    judge(records, slotOfClient),
    simulation.statuses().map((status) => tellerOf(status, partition, records.replicas)),
    { on: 'sim', measured: measuredOf(scenario.workloads) },
  );
  const leftOut = kindsLeftOut(scenario.workloads).map((kind) => `workload ${kind}`);
  const { violation } = simulation;
  return {
    records,
    report: {
      ...report,
      ...{ passed: report.passed && violation === null, seed },
      ...(leftOut.length > 0 ? { leftOut } : {}),
      ...(violation
        ? { violation: `"${violation.invariant}" at ${violation.at.toFixed(3)} ms: ${violation.what}` }
        : {}),
    },
  };
}

async function record(
  { workloads, timeline, topology }: Scenario,
  simulation: Simulation,
  addresses: readonly string[],
): Promise<Omit<RunRecords, 'tables' | 'segments' | 'drops'>> {
  const steps: StepRecord[] = [];
  const seen = clientRecords();
  const replicas = Array.from({ length: topology.replicas }, (_, i) => `r${i + 1}`);
  const begin = simulation.now;
  const clients: SimulatedClients = {
    ...{ simulation, addresses, add: seen.add, ending: false, underWay: 0, closers: [] },
  };
  const simulated = workloads.filter(isSimulated);
  startSimulatedClients(clients, simulated);
  const take = createSimulatedStepper(simulation, replicas, (step) => steps.push(step));
  for (const step of timeline) if (simulation.violation === null) await take(step);
  const end = simulation.now;
  const slotsUnsettled = unsettled(simulation.statuses());
  clients.ending = true;
  for (const close of clients.closers) close();
  while (clients.underWay > 0 && simulation.now < end + patienceMs && (await simulation.run(lookMs)));
  return {
    begin,
    end,
    replicas,
    sessionsAsked: sessionsAskedBy(simulated),
    slotsUnsettled,
    routing: noRouting,
    steps,
    ...seen.records,
  };
}

/** What of connections may be relied on under all of these policies. */
function promisesOf(policies: readonly Policy[]): { readonly handoffs: ReadonlySet<string>; readonly drainMs: number } {
  return {
    handoffs: new Set(policies.map(({ handoff }) => handoff)),
    drainMs: Math.min(...policies.map(({ drainDeadline }) => drainDeadline)) * 1000,
  };
}

function kindsLeftOut(workloads: readonly Workload[]): string[] {
  return [...new Set(workloads.filter((each) => !isSimulated(each)).map(({ kind }) => kind))];
}

/** All but those of workloads that the simulator leaves out, and of what it has not. */
function measuredOf(workloads: readonly Workload[]): ReadonlySet<MeasureName> {
  const has = (kind: Workload['kind']): boolean => workloads.some((each) => each.kind === kind);
  const without = ['bytes.', 'datagrams.', 'commands.', 'capture.'];
  if (has('stream') && !has('tcp-echo')) without.push('connections.', 'stall.');
  return new Set(measureNames.filter((name) => !without.some((each) => name.startsWith(each))));
}

function newestOf(statuses: readonly SimulatedStatus[]): SimulatedStatus | undefined {
  const serving = statuses.filter(({ verdict }) => verdict === 'serving');
  return [...(serving.length > 0 ? serving : statuses)].sort((a, b) => b.epoch - a.epoch)[0];
}

function unsettled(statuses: readonly SimulatedStatus[]): number {
  const newest = newestOf(statuses);
  if (!newest) return 0;
  const unowned = newest.owners.flatMap((owner, slot) => (owner === null ? [slot] : []));
  return new Set([...unowned, ...newest.moving, ...newest.held]).size;
}

function tellerOf(
  { node, verdict, owners }: SimulatedStatus,
  partition: Partition,
  replicas: readonly string[],
): ShareTeller {
  const shares = replicas.map((name) => {
    const slots = owners.flatMap((owner, slot) => (owner === name ? [slot] : []));
    const filters = coverSlots(partition, slots).map(formatFilter);
    return { name, slots: formatSlots(slots), count: slots.length, filters };
  });
  return { node, verdict, owners: shares };
}

function partitionBy(text: string): Partition {
  const made = partitionOf(addressOf(text));
  return defined(made.ok ? made.value : null, 'the default mask');
}
