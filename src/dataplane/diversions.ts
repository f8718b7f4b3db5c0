import { OperatingError } from '../base/operating-error.ts';
import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';

/**
 * What becomes of a flow's packets on arrival, whatever its slot's row and the fences say. `cut`: they drop. `hold`: their frames go, as they came, to the
 * service's hold device.
 */
export type Diverted = 'cut' | 'hold';

/** Null has the flow's packets judged like any others. */
export interface FlowChange {
  readonly flow: TcpFlow;
  readonly to: Diverted | null;
}

/** Flows that are diverted, by `flowKey`. */
export type Diversions = ReadonlyMap<string, FlowChange & { readonly to: Diverted }>;

/** As many as one service may have diverted at a time. */
export const diversionsMax = 65_536;

/** What is diverted after `changes`, of which the last about a flow counts; throws an OperatingError when that is too much. */
export function divertedBy(from: Diversions, changes: readonly FlowChange[]): Diversions {
  const next = new Map(from);
  for (const { flow, to } of changes) {
    if (to === null) next.delete(flowKey(flow));
    else next.set(flowKey(flow), { flow, to });
  }
  if (next.size > diversionsMax) {
    throw new OperatingError('diversions', `${next.size} flows would be cut or held, more than ${diversionsMax}`, {
      remedy: 'transfer fewer connections at a time',
    });
  }
  return next;
}
