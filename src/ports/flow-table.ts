import type { TcpFlow } from '../base/tcp-flow.ts';
import type { Flow } from '../handoff/flow.ts';

/** The established and half-open TCP flows of one service address that this host holds. */
export interface FlowTable<F extends Flow = Flow> {
  list(): readonly F[];
  /** Those of `flows` that this host has, established or ending. Half-open ones are not looked for. */
  find(flows: readonly TcpFlow[]): readonly TcpFlow[];
  /** Ends flows from `list` at once; their clients get a RST. Returns how many there were still to end. */
  destroy(flows: readonly F[]): number;
}
