import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import { environmentOf } from './environment.ts';
import { endNamespaceProcesses, setCable } from './network.ts';
import type { LabNode, LabPlan } from './plan.ts';
import { endProcess, isAlive, type ProcessRecord, signalProcess, spawnDetached } from './process-record.ts';
import { replicaFiles } from './replica-files.ts';
import { labDirectory, stateOfLab, writeLabState } from './state.ts';

const command = fileURLToPath(new URL('../cli/main.js', import.meta.url));
/** An agent takes up to three seconds to hand everything off. */
export const agentPatienceMs = 8000;

/** Starts the agent of a replica; whoever calls keeps the record. */
export function spawnAgent(plan: LabPlan, replica: LabNode): ProcessRecord {
  const { config, agentLog } = replicaFiles(labDirectory(plan.name), replica.name);
  return spawnInReplica(plan, replica, [process.execPath, command, 'agent', '-c', config], agentLog);
}

/** Starts one of a replica's servers, a command for `sh -c`; whoever calls keeps the record. */
export function spawnServer(plan: LabPlan, replica: LabNode, serve: string): ProcessRecord {
  return spawnInReplica(
    plan,
    replica,
    ['sh', '-c', serve],
    replicaFiles(labDirectory(plan.name), replica.name).serverLog,
  );
}

export function isAgentAlive(plan: LabPlan, replica: string): boolean {
  return isAlive(processesOf(plan, replica).agent);
}

/** Signals the agent of a replica, if it lives. */
export function signalAgent(plan: LabPlan, replica: string, signal: NodeJS.Signals): void {
  signalProcess(processesOf(plan, replica).agent, signal);
}

/**
 * Starts the agent of a replica again; one that lives is asked to end first, and waited for: by SIGTERM it hands everything off, by SIGHUP its kernel goes on.
 * `lab down` knows the new one.
 */
export async function restartAgent(
  plan: LabPlan,
  replica: string,
  signal: 'SIGTERM' | 'SIGHUP' = 'SIGTERM',
): Promise<void> {
  await endProcess(processesOf(plan, replica).agent, agentPatienceMs, signal);
  const state = stateOfLab(plan.name);
  const at = indexOf(plan, replica);
  const agent = spawnAgent(plan, defined(plan.replicas[at], 'a replica of the plan'));
  writeLabState({ ...state, agents: state.agents.map((each, i) => (i === at ? agent : each)) });
}

/** Kills the servers of a replica, each with its children. */
export function killServers(plan: LabPlan, replica: string): void {
  for (const server of processesOf(plan, replica).servers) signalProcess(server, 'SIGKILL');
}

/** As when a machine loses power: its cable is dead first, so that nothing the dying processes send gets out. */
export function killHost(plan: LabPlan, replica: string): void {
  setCable(plan, replica, 'down');
  endNamespaceProcesses(defined(plan.replicas[indexOf(plan, replica)], 'a replica of the plan').namespace);
}

/** Kills the agent of a replica, and removes all that it remembers. */
export function destroyState(plan: LabPlan, replica: string): void {
  signalAgent(plan, replica, 'SIGKILL');
  const { state } = replicaFiles(labDirectory(plan.name), replica);
  rmSync(state, { recursive: true, force: true });
}

interface ReplicaProcesses {
  readonly agent: ProcessRecord;
  readonly servers: readonly ProcessRecord[];
}

function processesOf(plan: LabPlan, replica: string): ReplicaProcesses {
  const { agents, servers } = stateOfLab(plan.name);
  const at = indexOf(plan, replica);
  const each = servers.length / plan.replicas.length;
  return { agent: defined(agents[at], 'an agent in each replica'), servers: servers.slice(at * each, (at + 1) * each) };
}

function indexOf(plan: LabPlan, replica: string): number {
  const at = plan.replicas.findIndex(({ name }) => name === replica);
  if (at >= 0) return at;
  const allowed = plan.replicas.map(({ name }) => name).join(', ');
  throw new OperatingError('lab', `the lab "${plan.name}" has no replica "${replica}", allowed are ${allowed}`);
}

function spawnInReplica(plan: LabPlan, replica: LabNode, argv: readonly string[], log: string): ProcessRecord {
  const enter = plan.onLoopback ? [] : ['ip', 'netns', 'exec', replica.namespace];
  return spawnDetached([...enter, ...argv], log, {
    ...process.env,
    ...environmentOf(plan, replica.name),
    MANYCAST_DIRECTORY: replicaFiles(labDirectory(plan.name), replica.name).directory,
  });
}
