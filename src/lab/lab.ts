import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../base/operating-error.ts';
import { askAgentOnce } from '../platform/agent-client.ts';
import { attendTo } from './attached-process.ts';
import { formCluster } from './cluster.ts';
import { listeningPorts } from './listening.ts';
import { buildNetwork, existingNamespaces, removeNamespace } from './network.ts';
import { type LabPlan, type LabSize, planLab } from './plan.ts';
import { prepare } from './preparation.ts';
import { endProcess, isAlive, type ProcessRecord } from './process-record.ts';
import { type JoinRules, policyPath, replicaFiles, routerFiles, writeReplicaFiles } from './replica-files.ts';
import { agentPatienceMs, spawnAgent, spawnServer } from './replica-processes.ts';
import { spawnRouter } from './router-processes.ts';
import { spawnOn } from './spawn-on.ts';
import {
  createLabDirectory,
  type LabState,
  labDirectory,
  labNames,
  readLabState,
  removeLabDirectory,
  stateOfLab,
  writeLabState,
} from './state.ts';
import { noFaults } from './switch-faults.ts';
import { hasEntered } from './user-namespace.ts';

export interface LabOptions extends LabSize {
  /** Commands for `sh -c` that are run first, one after the other, in the directory MANYCAST_SHARED. */
  readonly prepare?: readonly string[];
  /** Commands that serve, for `sh -c`, run beside each agent; MANYCAST_NODE and MANYCAST_SERVICE_ADDRESS are set. */
  readonly serve: readonly string[];
  /** What the service's ports are, such as "80/tcp". */
  readonly ports: readonly string[];
  /** Of these, TCP ports that are waited for until somebody listens on them in every replica. */
  readonly awaited?: readonly string[];
  /** Of these, TCP ports whose servers the agents check: a replica whose server does not answer has no share while others do. */
  readonly checked?: readonly string[];
  /** The agents have certificates, so that connections of applications with the SDK can be moved. */
  readonly certified?: boolean;
  /** Where there are routers; by default the joins of the lab's own members count, and are heard from their link alone. */
  readonly joins?: Partial<JoinRules>;
  /** How long UDP flows stay with their replica, such as "5s"; absent: they follow the slot. */
  readonly udpIdle?: string;
  /** Text of the policy file to begin with. */
  readonly policy: string;
  readonly onProgress: (line: string) => void;
  /** Aborting takes down what was built. */
  readonly signal?: AbortSignal;
}

/** A laboratory that is up. */
export interface Lab {
  readonly plan: LabPlan;
  readonly directory: string;
  /** Save this file and the agents re-divide the clients. */
  readonly policyFile: string;
  socketOf(replica: string): string;
  routerSocketOf(router: string): string;
}

/** What a replica says of itself: the part of `manycast status --json` that the lab looks at. */
export interface ReplicaStatus {
  readonly verdict: string;
  readonly epoch: number;
  readonly settled: boolean;
  readonly unhealthy: readonly string[];
  readonly coordinator: string | null;
  readonly owners: readonly {
    readonly name: string;
    readonly slots: string;
    readonly count: number;
    readonly filters: readonly string[];
  }[];
  readonly moves: readonly { readonly slots: string }[];
  readonly holders: readonly { readonly slots: string }[];
  readonly unowned: string;
}

const readyMsMax = 20_000;
const pollMs = 50;
const serverPatienceMs = 2000;
const logLinesShown = 8;

/** Builds the network, starts an agent and the servers in every replica, and waits until all slots are served. On failure nothing is left. */
export async function labUp(options: LabOptions): Promise<Lab> {
  const plan = planLab(options);
  if (!createLabDirectory(options.name)) {
    throw alreadyUp(options.name);
  }
  try {
    return await build(plan, options);
  } catch (error) {
    await labDown(options.name);
    throw error;
  }
}

export function alreadyUp(name: string): OperatingError {
  return new OperatingError('lab', `the lab "${name}" is up already`, { remedy: `manycast lab down ${name}` });
}

/** Ends everything in a lab and removes it, however much of it there is. False when there was nothing. */
export async function labDown(name: string): Promise<boolean> {
  const known = labNames().includes(name);
  const state = readLabState(name);
  await Promise.all((state?.agents ?? []).map((each) => endProcess(each, agentPatienceMs)));
  await Promise.all((state?.routers ?? []).map((each) => endProcess(each, agentPatienceMs)));
  await Promise.all((state?.servers ?? []).map((each) => endProcess(each, serverPatienceMs)));
  const namespaces = state?.plan.onLoopback ? [] : existingNamespaces(name);
  for (const namespace of namespaces) removeNamespace(namespace);
  removeLabDirectory(name);
  return known || namespaces.length > 0;
}

export interface LabSummary {
  readonly name: string;
  readonly serviceAddress: string;
  readonly nodes: readonly string[];
}

export function labList(): LabSummary[] {
  return labNames().flatMap((name) => {
    const state = readLabState(name);
    if (!state) return [];
    const { service, replicas, clients, routers } = state.plan;
    const nodes = [...replicas, ...clients, ...routers].map((node) => node.name);
    return [{ name, serviceAddress: service.address, nodes }];
  });
}

/** Runs a command on a node with this terminal; resolves with its exit code. */
export function labExec(name: string, node: string, argv: readonly string[]): Promise<number> {
  const child = spawnOn(stateOfLab(name).plan, node, argv, { stdio: 'inherit' });
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  // A terminal's Ctrl-C reaches the command by itself; in a user namespace, which has no terminal, it comes to this process alone.
  const interrupt = hasEntered() ? pass : (): void => {};
  return attendTo(child, interrupt, pass);
}

/** A lab that is up already. */
export function labNamed(name: string): Lab {
  return labOf(stateOfLab(name).plan);
}

function labOf(plan: LabPlan): Lab {
  const directory = labDirectory(plan.name);
  return {
    plan,
    directory,
    policyFile: policyPath(directory),
    socketOf: (replica) => replicaFiles(directory, replica).socket,
    routerSocketOf: (router) => routerFiles(directory, router).socket,
  };
}

async function build(plan: LabPlan, options: LabOptions): Promise<Lab> {
  const { onProgress } = options;
  const directory = labDirectory(plan.name);
  const agents: ProcessRecord[] = [];
  const servers: ProcessRecord[] = [];
  const routers: ProcessRecord[] = [];
  const save = (): void => writeLabState({ plan, agents, servers, routers, switchFaults: noFaults });
  save();
  const machines = `${plan.replicas.length} replicas, ${plan.clients.length} clients`;
  const between = plan.onLoopback
    ? 'all on the loopback device'
    : plan.routers.length > 0
      ? `${plan.routers.length === 1 ? 'a router' : 'two routers'} between two switches`
      : 'one switch';
  onProgress(`network: ${machines}, ${between}`);
  if (!plan.onLoopback) buildNetwork(plan);
  const { ports, awaited = [], checked = [], udpIdle = null } = options;
  const joins = { arePublic: false, fromClients: false, ...options.joins };
  const certified = options.certified === true || (plan.routers.length > 0 && !joins.arePublic);
  await writeReplicaFiles(directory, plan, options.policy, { ports, checked, certified, joins, udpIdle });
  await prepare(plan, options.prepare ?? [], options.signal);
  for (const router of plan.routers) routers.push(spawnRouter(plan, router));
  save();
  for (const replica of plan.replicas) {
    checkInterrupted(options.signal);
    agents.push(spawnAgent(plan, replica));
    for (const each of options.serve) servers.push(spawnServer(plan, replica, each));
    save();
  }
  onProgress(`agents: ${plan.replicas.map(({ name }) => name).join(', ')}`);
  const processes = { agents, servers };
  const listens = (): boolean =>
    agents.every(({ pid }) => {
      const listening = listeningPorts(pid);
      return awaited.every((port) => !port.endsWith('/tcp') || listening.has(Number.parseInt(port, 10)));
    });
  await ready(plan, directory, processes, options.signal, 'answers', listens);
  await formCluster(new Map(plan.replicas.map(({ name }) => [name, replicaFiles(directory, name).socket])));
  await ready(plan, directory, processes, options.signal, 'serves');
  const lab = labOf(plan);
  for (const { name } of plan.routers) await untilForwarding(lab, name, options.signal);
  return lab;
}

/** The part of `manycast router status --json` that the lab looks at. */
interface RouterSeen {
  readonly services: readonly { readonly unclaimed: string }[];
}

/** Waits until a router sends the packets of every slot to somebody. Throws an OperatingError when it does not within 20 s. */
export async function untilForwarding({ directory }: Lab, name: string, signal?: AbortSignal): Promise<void> {
  const { socket, log } = routerFiles(directory, name);
  for (let waited = 0; waited <= readyMsMax; waited += pollMs) {
    checkInterrupted(signal);
    const seen = await askAgentOnce<RouterSeen>(socket, 'GET', '/v1/router').catch(() => null);
    if (seen?.services.every(({ unclaimed }) => unclaimed === '')) return;
    await delay(pollMs);
  }
  const said = readFileSync(log, 'utf8').trimEnd().split('\n').slice(-logLinesShown).join('\n');
  throw new OperatingError('lab', `the router ${name} does not send the packets of all slots to replicas:\n${said}`);
}

/** Waits until every agent answers, or serves with no slot on its way and no server that fails its checks, and for what else `isReady` says; all must still run then. */
async function ready(
  plan: LabPlan,
  directory: string,
  { agents, servers }: Pick<LabState, 'agents' | 'servers'>,
  signal: AbortSignal | undefined,
  what: 'answers' | 'serves',
  isReady: () => boolean = () => true,
): Promise<void> {
  const serversEach = servers.length / plan.replicas.length;
  const nameOf = (index: number): string => plan.replicas[index]?.name ?? '';
  for (let waited = 0; ; waited += pollMs) {
    checkInterrupted(signal);
    const deadAgent = agents.findIndex((agent) => !isAlive(agent));
    if (deadAgent >= 0) throw notUp(directory, nameOf(deadAgent), 'agent', 'ended');
    const deadServer = servers.findIndex((server) => !isAlive(server));
    if (deadServer >= 0) throw notUp(directory, nameOf(Math.floor(deadServer / serversEach)), 'server', 'ended');
    const states = await Promise.all(plan.replicas.map(({ name }) => stateOf(replicaFiles(directory, name).socket)));
    const late = states.findIndex((state) => state !== 'serves' && state !== what);
    if (late < 0 && isReady()) return;
    if (waited > readyMsMax) {
      if (late >= 0) throw notUp(directory, nameOf(late), 'agent', 'does not serve');
      throw notUp(directory, nameOf(0), 'server', 'or that of another replica does not listen');
    }
    await delay(pollMs);
  }
}

/** Said once `labUp` has taken down what there was. */
function checkInterrupted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new OperatingError('interrupted', 'interrupted, everything is taken down');
}

function notUp(directory: string, replica: string, what: 'agent' | 'server', how: string): OperatingError {
  const files = replicaFiles(directory, replica);
  const log = readFileSync(what === 'agent' ? files.agentLog : files.serverLog, 'utf8').trimEnd();
  return new OperatingError(
    'lab',
    `the ${what} of ${replica} ${how}:\n${log.split('\n').slice(-logLinesShown).join('\n')}`,
  );
}

async function stateOf(socket: string): Promise<'silent' | 'answers' | 'serves'> {
  try {
    const { verdict, settled, unhealthy } = await askAgentOnce<ReplicaStatus>(socket, 'GET', '/v1/status');
    return verdict === 'serving' && settled && unhealthy.length === 0 ? 'serves' : 'answers';
  } catch {
    return 'silent';
  }
}
