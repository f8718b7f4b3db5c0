import type { IpAddress } from '../base/address.ts';
import type { MacAddress } from '../base/mac.ts';
import type { Partition } from '../space/partition.ts';

/** What a replica does with packets of a slot; a slot without a row is not this replica's, and its packets drop. */
export type Row = 'own';

export interface Port {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

/** The part of a forwarding table that stays while shares change. */
export interface ServiceEntry {
  /** Lower-case letters, digits and "-": names the kernel table. */
  readonly name: string;
  readonly address: IpAddress;
  readonly ports: readonly Port[];
  readonly partition: Partition;
  /** The device that carries the service's frames. */
  readonly device: string;
  /** The link address the service address resolves to. */
  readonly groupMac: MacAddress;
}

/** Desired state of the kernel for one service: a plain value, applied whole. */
export interface ForwardingTable {
  readonly service: ServiceEntry;
  readonly rows: ReadonlyMap<number, Row>;
}
