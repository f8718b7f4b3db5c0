import type { FlowChange } from './diversions.ts';
import type { ForwardingTable, Rows } from './forwarding-table.ts';
import type { Staying, UdpFlow } from './staying.ts';

/** Packets since the table was first installed, by what became of them. */
export interface DataPlaneCounters {
  readonly accepted: number;
  readonly relayed: number;
  readonly dropped: number;
  /** Resets of connections unknown here that were not sent, as another host may have them. */
  readonly resetsWithheld: number;
  /** Resets of connections unknown here that were given to the agent instead, as it can ask the others. */
  readonly resetsAsked: number;
}

export interface FlowCounters extends DataPlaneCounters {
  /** Packets of flows that were diverted; those that came while there was no hold device went nowhere. */
  readonly held: number;
}

/** What an earlier process left. */
export interface Adopted {
  readonly rows: Rows;
  /** Nothing is kept any more. */
  readonly staying: Staying;
}

/** `lease`: may take new connections. `hold`: may go on with those there are; it lasts longer, so that they outlive their agent. */
export type Fence = 'lease' | 'hold';

/**
 * Makes a kernel equal to a forwarding table. What the rows permit needs a fence: that of the mark granted last, from when that mark was armed. A table
 * that is new, or back after somebody removed it, has neither.
 */
export interface DataPlane {
  /**
   * Starts a fence of `ms` for a mark of 1 to 2^32 - 1 that is not armed already; the kernel ends it by itself. In the kernel when it returns; throws
   * an OperatingError otherwise.
   */
  arm(fence: Fence, mark: number, ms: number): void;
  /** From now on the fence of `mark` is the one that counts, also when it is over; null for none. In the kernel when it returns; throws an OperatingError otherwise. */
  grant(fence: Fence, mark: number | null): void;
  /**
   * One atomic transaction; resolves when the kernel judges every new packet by `table`: true when that took a new table, which has no fences. Rejects with an
   * OperatingError and changes nothing otherwise.
   */
  apply(table: ForwardingTable): Promise<boolean>;
  /**
   * Diverts flows, or lets them be, in one atomic transaction; resolves when the kernel judges every new packet so. Rejects with an OperatingError and changes
   * nothing otherwise: without a table that was applied or adopted, above `diversionsMax` flows, or to divert one without a hold device. What is diverted outlasts changes of rows,
   * is put back with the table, and is not adopted. The caller is blocked for about 10 µs a flow; an ordinary user's kernel takes 2,048 flows at once.
   */
  divert(changes: readonly FlowChange[]): Promise<void>;
  /**
   * Goes on with the table that an earlier process left for exactly this service, fences included, but without the flows it had diverted and the UDP flows that it had
   * kept; null when there is none.
   */
  adopt(): Promise<Adopted | null>;
  /**
   * UDP flows of which a datagram was taken within `udpIdleMs`, `seenMax` at most; none for a service without it. Rejects with an OperatingError when they cannot be listed.
   */
  seen(): Promise<readonly UdpFlow[]>;
  /**
   * Puts the applied table back when somebody else has removed it, or, looking `closely`, changed its rows or what is diverted; true when that was so. A close look takes about 20 µs
   * a slot.
   */
  repair(closely: boolean): Promise<boolean>;
  counters(): Promise<FlowCounters>;
  /** Removes what `apply` made; harmless when there is nothing. */
  remove(): Promise<void>;
}
