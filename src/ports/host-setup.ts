import type { IpAddress } from '../base/address.ts';

/** What a replica's host needs besides the forwarding table. */
export interface HostNeeds {
  readonly device: string;
  readonly serviceAddress: IpAddress;
  /** Null where the address is routed, and no frame comes to a group. */
  readonly group: IpAddress | null;
  /**
   * Devices whose packets for the address are this host's as they come; those of all others are only when they carry `localMark`. Absent: the address is the host's as any is.
   */
  readonly unmarkedFrom?: readonly string[];
}

/**
 * Sets the host up for one service, remembering what it changed on stable storage, so that `undo` (also of a later process, after
 * a crash) puts back exactly that and nothing else.
 */
export interface HostSetup {
  prepare(needs: HostNeeds): void;
  /**
   * Puts back what other programs have undone of `prepare`, and returns a few words for each; cheap when there is nothing. What cannot be put
   * back yet, as its device is gone, is left for the next call. Throws an OperatingError when the host refuses.
   */
  repair(): readonly string[];
  /** Harmless when nothing was prepared. */
  undo(): void;
}
