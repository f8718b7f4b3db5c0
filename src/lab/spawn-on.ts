import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { OperatingError } from '../base/operating-error.ts';
import { environmentOf } from './environment.ts';
import type { LabNode, LabPlan } from './plan.ts';

/** Starts a command on a node; "sw" is the switch, a router is "rt", of two "rt1" or "rt2". */
export function spawnOn(plan: LabPlan, node: string, argv: readonly string[], options: SpawnOptions): ChildProcess {
  const namespace = namespaceOf(plan, node);
  const env = { ...process.env, ...options.env, ...environmentOf(plan, node) };
  const [command = '', ...args] = plan.onLoopback ? argv : ['ip', 'netns', 'exec', namespace, ...argv];
  return spawn(command, args, { ...options, env });
}

function namespaceOf(plan: LabPlan, name: string): string {
  if (name === 'sw') return plan.switchNamespace;
  const nodes: readonly LabNode[] = [...plan.replicas, ...plan.clients, ...plan.routers];
  const node = [...nodes, plan.stranger].find((each) => each.name === name);
  if (!node) {
    const allowed = nodes.map((each) => each.name).join(', ');
    throw new OperatingError('lab', `the lab "${plan.name}" has no node "${name}", allowed are ${allowed}, sw`);
  }
  return node.namespace;
}
