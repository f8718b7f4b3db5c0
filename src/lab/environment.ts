import { delimiter, join } from 'node:path';
import type { LabPlan } from './plan.ts';
import { programFolders } from './program-folders.ts';
import { replicaFiles, routerFiles } from './replica-files.ts';
import { labDirectory } from './state.ts';

/** What a program on a node learns of where it is: MANYCAST_SOCKET and MANYCAST_SDK_SOCKET are those of the node's agent, MANYCAST_ROUTER_SOCKET that of a router's daemon, MANYCAST_SHARED is a directory for all nodes. */
export function environmentOf(plan: LabPlan, node: string): NodeJS.ProcessEnv {
  const { socket, sdkSocket } = replicaFiles(labDirectory(plan.name), node);
  return {
    MANYCAST_NODE: node,
    MANYCAST_SERVICE_ADDRESS: plan.service.address,
    MANYCAST_NODE_ADDRESS: [...plan.replicas, ...plan.routers, ...plan.clients].find(({ name }) => name === node)
      ?.address,
    MANYCAST_SOCKET: socket,
    MANYCAST_SDK_SOCKET: sdkSocket,
    MANYCAST_ROUTER_SOCKET: routerFiles(labDirectory(plan.name), node).socket,
    MANYCAST_SHARED: sharedDirectory(plan.name),
    PATH: programFolders().join(delimiter),
  };
}

/** Where what all nodes of a lab read is. */
export function sharedDirectory(name: string): string {
  return join(labDirectory(name), 'shared');
}
