import type { ForwardingTable } from './forwarding-table.ts';

/** Packets since the table was first installed, by what became of them. */
export interface DataPlaneCounters {
  readonly accepted: number;
  readonly dropped: number;
}

/**
 * Makes a kernel equal to a forwarding table. The rows hold only while a lease lasts: that of the mark granted last, from when that
 * mark was armed. A table that is new, or back after somebody removed it, has no lease.
 */
export interface DataPlane {
  /** Starts a lease of `leaseMs` for a mark of 1 to 2^32 - 1, never used before; the kernel ends it by itself. In the kernel when it returns; throws an OperatingError otherwise. */
  arm(mark: number, leaseMs: number): void;
  /** From now on the lease of `mark` is the one that counts, also when it is over. In the kernel when it returns; throws an OperatingError otherwise. */
  grant(mark: number): void;
  /** One atomic transaction; resolves when the kernel judges every new packet by `table`. Rejects with an OperatingError and changes nothing otherwise. */
  apply(table: ForwardingTable): Promise<void>;
  /** Puts the applied table back when somebody else has removed or emptied it; true when that was so. */
  repair(): Promise<boolean>;
  counters(): Promise<DataPlaneCounters>;
  /** Removes what `apply` made; harmless when there is nothing. */
  remove(): Promise<void>;
}
