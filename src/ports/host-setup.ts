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
  /** Harmless when nothing was prepared. */
  undo(): void;
}
