import type { IpAddress } from '../base/address.ts';

/** What a replica's host needs besides the forwarding table. */
export interface HostNeeds {
  readonly device: string;
  readonly serviceAddress: IpAddress;
  readonly group: IpAddress;
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
