import { fileURLToPath } from 'node:url';
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import { endNamespaceProcesses, routeOver, setRouterCables } from './network.ts';
import type { LabPlan, LabRouter } from './plan.ts';
import { endProcess, isAlive, type ProcessRecord, signalProcess, spawnDetached } from './process-record.ts';
import { routerFiles } from './replica-files.ts';
import { agentPatienceMs } from './replica-processes.ts';
import { labDirectory, stateOfLab, writeLabState } from './state.ts';

const command = fileURLToPath(new URL('../cli/main.js', import.meta.url));

/** Starts the daemon of a router; whoever calls keeps the record. */
export function spawnRouter(plan: LabPlan, { name, namespace }: LabRouter): ProcessRecord {
  const { config, log } = routerFiles(labDirectory(plan.name), name);
  const argv = [process.execPath, command, 'router', '-c', config];
  return spawnDetached(['ip', 'netns', 'exec', namespace, ...argv], log, process.env);
}

export function isRouterAlive(plan: LabPlan, router: string): boolean {
  return isAlive(recordOf(plan, router));
}

/** Signals the daemon of a router, if it lives. */
export function signalRouter(plan: LabPlan, router: string, signal: NodeJS.Signals): void {
  signalProcess(recordOf(plan, router), signal);
}

/**
 * Starts the daemon of a router again; one that lives is asked to end first, and waited for: by SIGTERM it takes its services off the router, by SIGHUP the kernel
 * goes on. `lab down` knows the new one.
 */
export async function restartRouter(
  plan: LabPlan,
  router: string,
  signal: 'SIGTERM' | 'SIGHUP' = 'SIGTERM',
): Promise<void> {
  await endProcess(recordOf(plan, router), agentPatienceMs, signal);
  const state = stateOfLab(plan.name);
  const at = indexOf(plan, router);
  const started = spawnRouter(plan, routerOf(plan, router));
  writeLabState({ ...state, routers: state.routers.map((each, i) => (i === at ? started : each)) });
}

/** As when a router loses power: its cables are dead first. What it forwarded is lost until `routeAround`. */
export function killRouter(plan: LabPlan, router: string): void {
  const killed = routerOf(plan, router);
  setRouterCables(plan, killed, 'down');
  endNamespaceProcesses(killed.namespace);
}

/** Takes a router out of everybody's routes, as a routing protocol does once it is not heard. */
export function routeAround(plan: LabPlan, router: string): void {
  const { name } = routerOf(plan, router);
  const others = plan.routers.filter((each) => each.name !== name);
  if (others.length === 0) throw new OperatingError('lab', `the lab "${plan.name}" has no router but "${name}"`);
  routeOver(plan, others);
}

function recordOf(plan: LabPlan, router: string): ProcessRecord {
  return defined(stateOfLab(plan.name).routers[indexOf(plan, router)], 'a daemon on each router');
}

function routerOf(plan: LabPlan, router: string): LabRouter {
  return defined(plan.routers[indexOf(plan, router)], 'a router of the plan');
}

function indexOf(plan: LabPlan, router: string): number {
  const at = plan.routers.findIndex(({ name }) => name === router);
  if (at >= 0) return at;
  const allowed = plan.routers.map(({ name }) => name).join(', ') || 'none';
  throw new OperatingError('lab', `the lab "${plan.name}" has no router "${router}", allowed are ${allowed}`);
}
