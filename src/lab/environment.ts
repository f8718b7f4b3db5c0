import type { LabPlan } from './plan.ts';
import { replicaFiles } from './replica-files.ts';
import { labDirectory } from './state.ts';

/** What a program on a node learns of where it is: MANYCAST_SOCKET is that of the node's agent. */
export function environmentOf(plan: LabPlan, node: string): NodeJS.ProcessEnv {
  const socket = replicaFiles(labDirectory(plan.name), node).socket;
  return { MANYCAST_NODE: node, MANYCAST_SERVICE_ADDRESS: plan.service.address, MANYCAST_SOCKET: socket };
}
