import type { ForwardingTable } from './forwarding-table.ts';

/** Packets since the table was first installed, by what became of them. */
export interface DataPlaneCounters {
  readonly accepted: number;
  readonly dropped: number;
}

/** Makes a kernel equal to a forwarding table. */
export interface DataPlane {
  /** One atomic transaction; resolves when the kernel judges every new packet by `table`. Rejects with an OperatingError and changes nothing otherwise. */
  apply(table: ForwardingTable): Promise<void>;
  /** Puts the applied table back when somebody else has removed or emptied it; true when that was so. */
  repair(): Promise<boolean>;
  counters(): Promise<DataPlaneCounters>;
  /** Removes what `apply` made; harmless when there is nothing. */
  remove(): Promise<void>;
}
