import { OperatingError } from '../base/operating-error.ts';
import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';

/** Whether the frames of a flow go, as they came, to the service's hold device, whatever its slot's row and the fences say; else they are judged like any others. */
export interface FlowChange {
  readonly flow: TcpFlow;
  readonly isDiverted: boolean;
}

/** Flows that are diverted, by `flowKey`. */
export type Diversions = ReadonlyMap<string, TcpFlow>;

/** As many as one service may have diverted at a time. */
export const diversionsMax = 65_536;

/** What is diverted after `changes`, of which the last about a flow counts; throws an OperatingError when that is too much. */
export function divertedBy(from: Diversions, changes: readonly FlowChange[]): Diversions {
  const next = new Map(from);
  for (const { flow, isDiverted } of changes) {
    if (isDiverted) next.set(flowKey(flow), flow);
    else next.delete(flowKey(flow));
  }
  if (next.size > diversionsMax) {
    throw new OperatingError('diversions', `${next.size} flows would be diverted, more than ${diversionsMax}`, {
      remedy: 'transfer fewer connections at a time',
    });
  }
  return next;
}
