import type { Flow } from '../handoff/flow.ts';

/** The established and half-open TCP flows of one service address that this host holds. */
export interface FlowTable<F extends Flow = Flow> {
  list(): readonly F[];
  /** Ends flows from `list` at once; their clients get a RST. Returns how many there were still to end. */
  destroy(flows: readonly F[]): number;
}
