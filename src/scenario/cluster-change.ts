import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../base/operating-error.ts';
import type { Lab, ReplicaStatus } from '../lab/index.ts';
import { askAgent, askAgentOnce } from '../platform/agent-client.ts';
import { movePhases } from './step-schema.ts';

/** What a person asks of a cluster, as `POST /v1/change` takes it. */
export type ClusterChange =
  | { readonly kind: 'move'; readonly slots: string; readonly name: string }
  | { readonly kind: 'drain' | 'undrain'; readonly name: string };

const pollMs = 20;
const servingMsMax = 15_000;

/** Asks the agent of `replica` for a change; resolves when it is in force and no slot is on its way, or when a move of it has come as far as `until`. */
export async function changeCluster(
  lab: Lab,
  replica: string,
  change: ClusterChange,
  signal: AbortSignal,
  until: (typeof movePhases)[number] = 'done',
): Promise<void> {
  const far = movePhases.indexOf(until);
  const lines = askAgent(lab.socketOf(replica), 'POST', '/v1/change', JSON.stringify(change), signal);
  for await (const { type, phase } of lines) {
    // The last phase is that of one of several moves; the change is done when the answer ends.
    if (until !== 'done' && type === 'move' && (movePhases as readonly unknown[]).indexOf(phase) >= far) return;
  }
}

/** Resolves when the agent of `replica` serves. */
export async function untilServing(lab: Lab, replica: string, signal: AbortSignal): Promise<void> {
  for (let waited = 0; waited < servingMsMax; waited += pollMs) {
    const status = await askAgentOnce<ReplicaStatus>(lab.socketOf(replica), 'GET', '/v1/status').catch(() => null);
    if (status?.verdict === 'serving') return;
    await delay(pollMs, undefined, { signal });
  }
  throw new OperatingError('scenario', `${replica} does not serve ${servingMsMax / 1000} s after its upgrade`);
}
