import type { TcpFlow } from '../base/tcp-flow.ts';
import type { Rows } from '../dataplane/forwarding-table.ts';
import { slotOf } from '../space/partition.ts';
import { encodeMessage } from '../wire/control-message.ts';
import type { ControlOutput } from './io.ts';
import type { Parts } from './parts.ts';

/** The kernel has held back the reset of a flow that this host does not have: it leaves at once when there is nobody to ask, or too much is asked already. */
export function askAbout(
  { membership, questions }: Parts,
  flow: TcpFlow,
  reset: Uint8Array,
  now: number,
): ControlOutput[] {
  const isAsked = membership.others.length > 0 && questions.ask(flow, reset, now);
  return isAsked ? [] : [{ kind: 'letGo', reset }];
}

/** This host has `flows`, of those that `asker` asked about, and claims those of which no ledger knows. */
export function answerTo({ config, claims }: Parts, asker: string, flows: readonly TcpFlow[]): ControlOutput[] {
  if (flows.length === 0) return [];
  claims.add(flows.map(({ client }) => slotOf(config.partition, client)));
  return [{ kind: 'send', to: { peer: asker }, body: encodeMessage({ kind: 'answer', flows }) }];
}

/**
 * The rows of these slots have ended. What this host has not reported drained itself was taken from it, by others who took it for gone: it claims to be a holder, for
 * as long as it would have been one. Any other flow of them is nobody's, and ends.
 */
export function afterRows(parts: Parts, ended: Rows, isOver: boolean, now: number): ControlOutput[] {
  const { share, draining, claims, policies } = parts;
  if (ended.size === 0) return [];
  const { handoff, drainDeadline } = policies.of(share.known?.policy ?? 'strategy: equal');
  const isKept = !isOver && handoff !== 'reset' && now < share.leasedUntil + drainDeadline * 1000;
  const kept = [...ended].flatMap(([slot, { kind }]) =>
    isKept && kind !== 'relay' && !(kind === 'old' && draining.isDrained(slot)) ? [slot] : [],
  );
  claims.add(kept);
  const keeps = new Set(kept);
  const slots = new Set([...ended.keys()].filter((slot) => !keeps.has(slot)));
  return slots.size > 0 ? [{ kind: 'reset', slots }] : [];
}

/** What is due: questions, claims, resets of flows that nobody has, and the end of flows that nobody wants this host to hold. */
export function askOthers(
  { config, membership, following, share, questions, claims }: Parts,
  now: number,
): ControlOutput[] {
  const outputs: ControlOutput[] = questions.takeUnanswered(now).map((reset) => ({ kind: 'letGo', reset }));
  for (const body of questions.toSend(now)) {
    outputs.push({ kind: 'send', to: 'group', body });
    for (const peer of membership.unreachedByMulticast(now)) outputs.push({ kind: 'send', to: { peer }, body });
  }
  if (!share.known) return outputs;
  const givenUp = claims.step(share.known, now);
  if (givenUp.length > 0) outputs.push({ kind: 'reset', slots: new Set(givenUp) });
  const coordinator = following.coordinatorHeartbeat() ? following.name : null;
  if (coordinator === null || coordinator === config.node) return outputs;
  for (const body of claims.toSend(now)) outputs.push({ kind: 'send', to: { peer: coordinator }, body });
  return outputs;
}
