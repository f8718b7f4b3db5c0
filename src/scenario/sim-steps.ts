import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import { parseSlots } from '../space/index.ts';
import type { ReplicaStep, StepRecord } from './records.ts';
import type { SimulatedChange, Simulation } from './simulation.ts';
import { policyLabel } from './step-label.ts';
import { others, roles, type Step } from './step-schema.ts';

/** Why the simulator cannot do a step, in a few words; null when it can. */
export function unknownStep(step: Step): string | null {
  const key = ['moved', 'revoke', 'withdraw', 'impostor'].find((each) => each in step);
  if (key) return key;
  if ('restart' in step && step.restart.router !== undefined) return 'restart: { router }';
  if (!('kill' in step)) return null;
  return (
    (['server', 'router'] as const).map((each) => (step.kill[each] ? `kill: { ${each} }` : null)).find(Boolean) ?? null
  );
}

interface SimulatedStage {
  readonly simulation: Simulation;
  readonly replicas: readonly string[];
  readonly onStep: (step: StepRecord) => void;
  readonly cast: Map<string, string>;
}

/** Does the steps of a timeline on a simulated network, as `steps.ts` does them on a lab. */
export function createSimulatedStepper(
  simulation: Simulation,
  replicas: readonly string[],
  onStep: (step: StepRecord) => void,
): (step: Step) => Promise<void> {
  const stage = { simulation, replicas, onStep, cast: new Map<string, string>() };
  return (step) => take(stage, step);
}

async function take(stage: SimulatedStage, step: Step): Promise<void> {
  const { simulation } = stage;
  const at = simulation.now;
  const on = (what: ReplicaStep, name: string, does: (replica: string) => void): void => {
    const replica = actor(stage, name);
    does(replica);
    stage.onStep({ what, at, done: simulation.now, replica });
  };
  if ('wait' in step) await simulation.run(step.wait * 1000);
  else if ('policy' in step) {
    stage.onStep({ what: 'policy', at, label: policyLabel(step.policy) });
    simulation.policy(step.policy);
  } else if ('move' in step || 'drain' in step || 'undrain' in step) await change(stage, step);
  else if ('upgrade' in step || 'restart' in step) await startAgain(stage, step);
  else if ('cut' in step) on('cut', step.cut, (each) => simulation.cut(each));
  else if ('heal' in step) on('heal', step.heal, (each) => simulation.heal(each));
  else if ('kill' in step) {
    const { agent, host } = step.kill;
    if (agent !== undefined) on('kill agent', agent, (each) => simulation.killAgent(each));
    if (host !== undefined) on('kill host', host, (each) => simulation.killHost(each));
  } else if ('stop' in step) on('stop', step.stop.agent, (each) => stop(stage, each, step.stop.seconds));
  else if ('leave' in step) on('leave', step.leave, (each) => simulation.leave(each));
  else if ('block' in step) block(stage, step);
  else if ('loss' in step) {
    simulation.lose(step.loss.percent / 100);
    stage.onStep({ what: 'loss', at, label: `control channel loses ${step.loss.percent} %` });
  } else if ('destroyState' in step) on('destroy state', step.destroyState, (each) => simulation.destroyState(each));
  else if ('flush' in step) on('flush', step.flush, (each) => simulation.flush(each));
}

/** Told when it is asked for. */
async function change(
  stage: SimulatedStage,
  step: Extract<Step, { move: unknown } | { drain: unknown } | { undrain: unknown }>,
): Promise<void> {
  const { simulation, onStep } = stage;
  const at = simulation.now;
  let wanted: SimulatedChange;
  if ('move' in step) {
    const name = actor(stage, step.move.to);
    const slots = parseSlots(step.move.slots, simulationSlots);
    wanted = { kind: 'move', slots: slots.ok ? slots.value : [], name };
    onStep({ what: 'move', at, label: `move ${step.move.slots} to ${name}` });
  } else {
    const kind = 'drain' in step ? 'drain' : 'undrain';
    const replica = actor(stage, 'drain' in step ? step.drain : step.undrain);
    wanted = { kind, name: replica };
    onStep({ what: kind, at, done: at, replica });
  }
  const refusal = await simulation.change(wanted, 'move' in step ? step.move.until : 'done');
  if (refusal !== null) throw new OperatingError('scenario', `${wanted.kind} ${wanted.name}: ${refusal}`);
}

/** By the default mask. */
const simulationSlots = 256;

async function startAgain(
  stage: SimulatedStage,
  step: Extract<Step, { upgrade: unknown } | { restart: unknown }>,
): Promise<void> {
  const { simulation, onStep } = stage;
  const at = simulation.now;
  const replica = actor(stage, 'upgrade' in step ? step.upgrade : defined(step.restart.agent, 'a replica'));
  if ('upgrade' in step) await simulation.upgrade(replica);
  else await simulation.restart(replica);
  onStep({ what: 'upgrade' in step ? 'upgrade' : 'restart', at, done: simulation.now, replica });
}

function stop({ simulation, onStep }: SimulatedStage, replica: string, seconds: number): void {
  simulation.stop(replica, seconds * 1000);
  simulation.after(seconds * 1000, () => {
    const at = simulation.now;
    onStep({ what: 'continue', at, done: at, replica });
  });
}

function block(stage: SimulatedStage, { block: { from, to, between } }: Extract<Step, { block: unknown }>): void {
  const { simulation, replicas } = stage;
  const [one = '', other = ''] = (between ?? [from ?? '', to ?? '']).map((each) => actor(stage, each));
  const meant = (end: string, opposite: string): readonly string[] =>
    end === others ? replicas.filter((each) => each !== opposite) : [end];
  for (const sender of meant(one, other)) {
    for (const receiver of meant(other, one)) {
      simulation.block(sender, receiver);
      if (between) simulation.block(receiver, sender);
    }
  }
  const which = between ? `between ${one} and ${other}` : `from ${one} to ${other}`;
  stage.onStep({ what: 'block', at: simulation.now, label: `no frames ${which}` });
}

/** Who plays the roles is settled when the timeline first names one, and stays. */
function actor({ simulation, replicas, cast }: SimulatedStage, name: string): string {
  if (!(roles as readonly string[]).includes(name)) return name;
  if (cast.size === 0) {
    const coordinator = simulation.statuses().find((status) => status.coordinator !== null)?.coordinator;
    const member = replicas.find((each) => each !== coordinator);
    if (!coordinator || !member) throw new OperatingError('scenario', 'no agent knows a coordinator');
    cast.set('coordinator', coordinator).set('member', member);
  }
  return cast.get(name) ?? name;
}
