export { type Capture, type CapturedSegment, captureAtSwitch } from './capture.ts';
export {
  alreadyUp,
  type Lab,
  type LabOptions,
  type LabSummary,
  labDown,
  labExec,
  labList,
  labNamed,
  labUp,
  type ReplicaStatus,
  untilForwarding,
} from './lab.ts';
export { plugInStranger, setCable } from './network.ts';
export { asOrdinaryUser } from './ordinary-user.ts';
export {
  clientAddressesMax,
  type LabClient,
  type LabDelivery,
  type LabNode,
  type LabPlan,
  type LabRouter,
  labLimits,
  planLab,
  routerNames,
} from './plan.ts';
export { programFolders } from './program-folders.ts';
export { memberFiles, revokeReplica } from './replica-files.ts';
export { destroyState, isAgentAlive, killHost, killServers, restartAgent, signalAgent } from './replica-processes.ts';
export { isRouterAlive, killRouter, restartRouter, routeAround, signalRouter } from './router-processes.ts';
export { spawnOn } from './spawn-on.ts';
export type { SwitchFaults } from './state.ts';
export { setSwitchFaults, switchFaultsOf, switchRules } from './switch-faults.ts';
export {
  hasEntered,
  holdNamespace,
  isHeld,
  mayBuildHere,
  namespaceRefusal,
  releaseNamespace,
  runInHeldNamespace,
  runInUserNamespace,
} from './user-namespace.ts';
