import type { Policy } from '../policy/index.ts';
import type { ReplicaStep, StepRecord } from './records.ts';

const done: Readonly<Record<ReplicaStep, string>> = {
  cut: 'cut off',
  heal: 'healed',
  'kill agent': 'agent killed',
  'kill host': 'host killed',
  'kill server': 'server killed',
  stop: 'agent stopped',
  continue: 'agent goes on',
  restart: 'agent restarted',
  upgrade: 'agent upgraded',
  drain: 'drained',
  undrain: 'undrained',
  leave: 'leaves',
  'destroy state': 'state destroyed',
  flush: 'rules flushed',
};

/** What a step did, in a few words. */
export function stepLabel(step: StepRecord): string {
  return 'replica' in step ? `${step.replica} ${done[step.what]}` : step.label;
}

const toConnections = { forward: 'stay', reset: 'are reset', transfer: 'move along', tag: 'stay' } as const;

/** A policy, in a few words. */
export function policyLabel(policy: Policy): string {
  const shares = {
    equal: () => 'equal shares',
    weighted: () => `shares ${Object.values('weights' in policy ? policy.weights : {}).join(':')}`,
    explicit: () => 'shares as listed',
  }[policy.strategy]();
  return `${shares}, connections ${toConnections[policy.handoff]}`;
}
