import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import {
  destroyState,
  isAgentAlive,
  isRouterAlive,
  killHost,
  killRouter,
  killServers,
  type Lab,
  restartAgent,
  restartRouter,
  revokeReplica,
  routeAround,
  type SwitchFaults,
  setCable,
  setSwitchFaults,
  signalAgent,
  signalRouter,
  spawnOn,
  switchFaultsOf,
  untilForwarding,
} from '../lab/index.ts';
import { unixMsOf } from '../platform/monotonic-clock.ts';
import { createCast } from './cast.ts';
import { changeCluster, untilServing } from './cluster-change.ts';
import type { ImpostorWish } from './impostor.ts';
import type { ReplicaStep, StepRecord } from './records.ts';
import { policyLabel } from './step-label.ts';
import { others, type Step } from './step-schema.ts';
import { untilMoved } from './until-moved.ts';

export interface Stepper {
  /** Does one step; resolves when the timeline may go on. */
  take(step: Step): Promise<void>;
  /** Throws when an agent is dead that no step has ended. */
  checkAgents(): void;
  /** Lets nothing outlast the timeline. */
  close(): void;
}

type MoveStep = Extract<Step, { move: unknown }>;
type KillStep = Extract<Step, { kill: unknown }>;
type BlockStep = Extract<Step, { block: unknown }>;
type ImpostorStep = Extract<Step, { impostor: unknown }>;
type RestartStep = Extract<Step, { restart: unknown }>;

/** What a step may need beside the lab. */
export interface Bystanders {
  /** Times that clients have seen a connection go on elsewhere. */
  moved(): number;
  /** Has an impostor send joins; resolves when they are judged. */
  impostor(wish: ImpostorWish): Promise<void>;
}

/** Does one step on a lab, and sees it to its end: a stop until the agent goes on. */
export async function takeStep(
  lab: Lab,
  step: Step,
  signal: AbortSignal,
  onStep: (step: StepRecord) => void,
): Promise<void> {
  const stepper = createStepper(lab, signal, onStep, nobody);
  try {
    await stepper.take(step);
    if ('stop' in step) await delay(step.stop.seconds * 1000, undefined, { signal });
  } finally {
    stepper.close();
  }
}

const nobody: Bystanders = {
  moved: () => {
    throw new OperatingError('scenario', 'moved: there are no clients that could tell, as there are in a scenario');
  },
  impostor: () => {
    throw new OperatingError(
      'scenario',
      'impostor: there is none that has heard the others, as there is in a scenario',
    );
  },
};

/** Does the steps of a timeline on a lab, and tells each when it is done; a stop once more when it is over. */
export function createStepper(
  lab: Lab,
  signal: AbortSignal,
  onStep: (step: StepRecord) => void,
  bystanders: Bystanders,
): Stepper {
  const stage: Stage = {
    ...{ lab, signal, onStep, bystanders, replicaOf: createCast(lab) },
    stopped: new Map(),
    ended: new Set(),
  };
  return {
    async take(step): Promise<void> {
      if ('wait' in step) await delay(step.wait * 1000, undefined, { signal });
      else if ('moved' in step) await untilMoved(step.moved, bystanders.moved, signal);
      else await take(stage, step);
    },
    checkAgents(): void {
      const { replicas, routers } = lab.plan;
      const dead = replicas.find(({ name }) => !stage.ended.has(name) && !isAgentAlive(lab.plan, name));
      if (dead) throw new OperatingError('scenario', `the agent of ${dead.name} ended by itself`);
      const gone = routers.find(({ name }) => !stage.ended.has(name) && !isRouterAlive(lab.plan, name));
      if (gone) throw new OperatingError('scenario', `the daemon of ${gone.name} ended by itself`);
    },
    close(): void {
      for (const replica of [...stage.stopped.keys()]) goOn(stage, replica);
    },
  };
}

interface Stage {
  readonly lab: Lab;
  readonly signal: AbortSignal;
  readonly onStep: (step: StepRecord) => void;
  readonly bystanders: Bystanders;
  readonly replicaOf: (name: string) => Promise<string>;
  /** Replicas whose agent is stopped, with what lets it go on. */
  readonly stopped: Map<string, NodeJS.Timeout>;
  /** Replicas whose agent, and routers whose daemon, may be dead. */
  readonly ended: Set<string>;
}

async function take(stage: Stage, step: Exclude<Step, { wait: unknown } | { moved: unknown }>): Promise<void> {
  const { plan } = stage.lab;
  if ('policy' in step) {
    stage.onStep({ what: 'policy', at: now(), label: policyLabel(step.policy) });
    savePolicy(stage.lab, stringify(step.policy));
  } else if ('move' in step) await move(stage, step);
  else if ('drain' in step) await drain(stage, 'drain', step.drain);
  else if ('undrain' in step) await drain(stage, 'undrain', step.undrain);
  else if ('upgrade' in step) await upgrade(stage, step.upgrade);
  else if ('cut' in step) await onReplica(stage, 'cut', step.cut, (each) => setCable(plan, each, 'down'));
  else if ('heal' in step) await onReplica(stage, 'heal', step.heal, (each) => heal(stage, each));
  else if ('kill' in step) await kill(stage, step);
  else if ('stop' in step) {
    await onReplica(stage, 'stop', step.stop.agent, (each) => stop(stage, each, step.stop.seconds));
  } else if ('restart' in step) await restart(stage, step);
  else if ('leave' in step) await endAgent(stage, 'leave', step.leave, (each) => signalAgent(plan, each, 'SIGTERM'));
  else if ('block' in step) await block(stage, step);
  else if ('loss' in step) lose(stage, step.loss.percent);
  else if ('withdraw' in step) {
    stage.onStep({ what: 'withdraw', at: now(), label: `${step.withdraw} taken out of all routes` });
    routeAround(plan, step.withdraw);
  } else if ('revoke' in step) await revoke(stage, step.revoke);
  else if ('impostor' in step) await pretend(stage, step);
  else if ('destroyState' in step) {
    await endAgent(stage, 'destroy state', step.destroyState, (each) => destroyState(plan, each));
  } else await onReplica(stage, 'flush', step.flush, (each) => flushRules(stage.lab, each));
}

async function move(stage: Stage, { move: { slots, to, until } }: MoveStep): Promise<void> {
  const name = await stage.replicaOf(to);
  stage.onStep({ what: 'move', at: now(), label: `move ${slots} to ${name}` });
  await changeCluster(stage.lab, spokesmanOf(stage, name), { kind: 'move', slots, name }, stage.signal, until);
}

/** Told when it is asked for, as a move is: what follows is what the cluster makes of it. */
async function drain(stage: Stage, kind: 'drain' | 'undrain', replica: string): Promise<void> {
  const name = await stage.replicaOf(replica);
  const at = now();
  stage.onStep({ what: kind, at, done: at, replica: name });
  await changeCluster(stage.lab, spokesmanOf(stage, name), { kind, name }, stage.signal);
}

/** The replica whose agent is asked for a change: the one that it is about, or another where that one is dead or stopped. */
function spokesmanOf({ lab: { plan }, stopped }: Stage, replica: string): string {
  const able = plan.replicas.map(({ name }) => name).filter((name) => !stopped.has(name) && isAgentAlive(plan, name));
  return able.includes(replica) ? replica : (able[0] ?? replica);
}

async function upgrade(stage: Stage, replica: string): Promise<void> {
  const name = await stage.replicaOf(replica);
  goOn(stage, name);
  await onReplica(stage, 'upgrade', name, (each) => restartAgent(stage.lab.plan, each, 'SIGHUP'));
  stage.ended.delete(name);
  await untilServing(stage.lab, name, stage.signal);
}

async function onReplica(
  stage: Stage,
  what: ReplicaStep,
  name: string,
  does: (replica: string) => unknown,
): Promise<void> {
  const replica = await stage.replicaOf(name);
  const at = now();
  await does(replica);
  stage.onStep({ what, at, done: now(), replica });
}

/** As `onReplica`, for what an agent does not survive. */
function endAgent(stage: Stage, what: ReplicaStep, name: string, does: (replica: string) => unknown): Promise<void> {
  return onReplica(stage, what, name, (replica) => {
    stage.ended.add(replica);
    does(replica);
    goOn(stage, replica);
  });
}

function kill(stage: Stage, { kill: { agent, host, server, router } }: KillStep): Promise<void> | void {
  const { plan } = stage.lab;
  if (router !== undefined)
    return endRouter(stage, router, 'daemon killed', () => signalRouter(plan, router, 'SIGKILL'));
  if (host !== undefined && plan.routers.some(({ name }) => name === host))
    return endRouter(stage, host, 'killed', () => killRouter(plan, host));
  if (agent !== undefined) return endAgent(stage, 'kill agent', agent, (each) => signalAgent(plan, each, 'SIGKILL'));
  if (host !== undefined) return endAgent(stage, 'kill host', host, (each) => killHost(plan, each));
  return onReplica(stage, 'kill server', defined(server, 'one of four'), (each) => killServers(plan, each));
}

function stop(stage: Stage, replica: string, seconds: number): void {
  signalAgent(stage.lab.plan, replica, 'SIGSTOP');
  clearTimeout(stage.stopped.get(replica));
  const timer = setTimeout(() => goOn(stage, replica), seconds * 1000);
  stage.stopped.set(replica, timer);
}

function goOn({ lab, stopped, onStep }: Stage, replica: string): void {
  clearTimeout(stopped.get(replica));
  if (!stopped.delete(replica)) return;
  const at = now();
  signalAgent(lab.plan, replica, 'SIGCONT');
  onStep({ what: 'continue', at, done: now(), replica });
}

function endRouter({ ended, onStep }: Stage, router: string, how: string, does: () => void): void {
  const at = now();
  ended.add(router);
  does();
  onStep({ what: 'router', at, label: `${router} ${how}` });
}

async function restart(stage: Stage, { restart: { agent, router } }: RestartStep): Promise<void> {
  const { plan } = stage.lab;
  if (router !== undefined) {
    const at = now();
    await restartRouter(plan, router);
    stage.ended.delete(router);
    await untilForwarding(stage.lab, router, stage.signal);
    stage.onStep({ what: 'router', at, label: `${router} restarted` });
    return;
  }
  await onReplica(stage, 'restart', defined(agent, 'one of two'), async (replica) => {
    goOn(stage, replica);
    await restartAgent(plan, replica);
    stage.ended.delete(replica);
  });
}

async function revoke(stage: Stage, replica: string): Promise<void> {
  const name = await stage.replicaOf(replica);
  const at = now();
  revokeReplica(stage.lab.directory, name);
  stage.onStep({ what: 'revoke', at, label: `certificates of ${name} revoked` });
}

async function pretend(stage: Stage, { impostor: { join, as } }: ImpostorStep): Promise<void> {
  const name = await stage.replicaOf(as);
  stage.onStep({ what: 'impostor', at: now(), label: `impostor as ${name}: ${join}` });
  await stage.bystanders.impostor({ join, as: name });
}

async function block(stage: Stage, { block: { from, to, between } }: BlockStep): Promise<void> {
  const [one = '', other = ''] = await Promise.all((between ?? [from ?? '', to ?? '']).map(stage.replicaOf));
  const at = now();
  const names = stage.lab.plan.replicas.map(({ name }) => name);
  const meant = (end: string, opposite: string): string[] =>
    end === others ? names.filter((each) => each !== opposite) : [end];
  const oneWay = meant(one, other).flatMap((sender) =>
    meant(other, one).map((receiver) => [sender, receiver] as const),
  );
  const back = between ? oneWay.map(([sender, receiver]) => [receiver, sender] as const) : [];
  const pairs: SwitchFaults['blocks'] = [...oneWay, ...back];
  const faults = switchFaultsOf(stage.lab.plan);
  setSwitchFaults(stage.lab.plan, { ...faults, blocks: [...faults.blocks, ...pairs] });
  const which = between ? `between ${one} and ${other}` : `from ${one} to ${other}`;
  stage.onStep({ what: 'block', at, label: `no frames ${which}` });
}

function lose(stage: Stage, percent: number): void {
  const at = now();
  setSwitchFaults(stage.lab.plan, { ...switchFaultsOf(stage.lab.plan), loss: { percent, spared: [] } });
  stage.onStep({ what: 'loss', at, label: `control channel loses ${percent} %` });
}

function heal({ lab: { plan } }: Stage, replica: string): void {
  const { blocks, loss } = switchFaultsOf(plan);
  setSwitchFaults(plan, {
    blocks: blocks.filter((pair) => !pair.includes(replica)),
    loss: { ...loss, spared: [...new Set([...loss.spared, replica])] },
  });
  setCable(plan, replica, 'up');
}

/** As an editor does: written aside, then renamed over the old one. */
function savePolicy(lab: Lab, text: string): void {
  writeFileSync(`${lab.policyFile}.new`, text, { mode: 0o600 });
  renameSync(`${lab.policyFile}.new`, lab.policyFile);
}

async function flushRules(lab: Lab, replica: string): Promise<void> {
  const child = spawnOn(lab.plan, replica, ['nft', 'flush', 'ruleset'], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new OperatingError('scenario', `nft flush ruleset failed on ${replica}`);
}

function now(): number {
  return unixMsOf(performance.now());
}
