import type { IpAddress } from '../base/address.ts';
import type { MacAddress } from '../base/mac.ts';
import type { Partition } from '../space/partition.ts';
import { fnv1a } from './fnv1a.ts';
import type { Staying } from './staying.ts';

/**
 * What a replica does with packets of a slot. Other TCP than the SYN that opens a connection goes up the stack with every row: the host that has the
 * socket answers, the others stay silent, because a host may reset unknown connections only of slots that are its own and settled. A slot without a row
 * is not this replica's: all its packets drop.
 *
 * | row | SYN | other TCP | UDP, ICMP echo |
 * |---|---|---|---|
 * | `own`: mine, and nobody else holds connections of it | taken | up | taken |
 * | `new`: mine, while others still hold connections of it | taken | up | taken |
 * | `relay`: arriving; `peer` has it still | sent on to `peer` | up | drop |
 * | `old`: given away, may still hold connections | those that `peer` relays are taken | up | drop |
 *
 * What is taken or sent on needs the lease, what goes up the hold. UDP flows that stay are excepted (`Staying`).
 *
 * Where frames reach this host alone (`router` delivery), other TCP and ICMP errors of `relay` and `new` go to the `holders` too, as copies;
 * and so does UDP that is not taken here.
 */
export interface Row {
  readonly kind: 'own' | 'new' | 'relay' | 'old';
  /** Link address of the peer that SYNs are relayed to or from; null where none are. */
  readonly peer: MacAddress | null;
  /** Link addresses of others that may hold connections and do not see the frames, ascending, `holdersMax` at most; absent where there are none. Of `relay` and `new` only. */
  readonly holders?: readonly MacAddress[];
}

/** As many hosts as frames of one slot are copied to. */
export const holdersMax = 15;

export const ownRow: Row = { kind: 'own', peer: null };
export const newRow: Row = { kind: 'new', peer: null };

export function sameRow(a: Row | undefined, b: Row | undefined): boolean {
  return a?.kind === b?.kind && a?.peer === b?.peer && a?.holders?.join() === b?.holders?.join();
}

/** The row accepts new connections, if only those that a peer relays. */
export function takesNew(row: Row | undefined): boolean {
  return row !== undefined && row.kind !== 'relay' && (row.kind !== 'old' || row.peer !== null);
}

export interface Port {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

/**
 * How packets for the service address get here. `segment`: in frames to the group's link address, which every replica on the segment gets. `router`: in frames to this host's own, from a
 * router that knows the owner of the slot.
 */
export type Delivery = 'segment' | 'router';

/**
 * In `router` delivery the mark of packets that the rules let up, and the number of the routing table that has the service address as a local one: to packets without the mark it is not, so that a host without rules
 * answers nobody.
 */
export const localMark = 0x6d64_0001;

/** The part of a forwarding table that stays while shares change. */
export interface ServiceEntry {
  /** Lower-case letters, digits and "-": names the kernel table. */
  readonly name: string;
  readonly address: IpAddress;
  readonly ports: readonly Port[];
  readonly partition: Partition;
  /** The device that carries the service's frames. */
  readonly device: string;
  /** The device's own link address: what relayed frames come from and to. */
  readonly ownMac: MacAddress;
  /** The link address the service address resolves to; null where it is routed and nobody resolves it. */
  readonly groupMac: MacAddress | null;
  /** Absent: `segment`. */
  readonly delivery?: Delivery;
  /** The device that takes the frames of flows that are held; made by whoever holds them. Absent: named for the service. */
  readonly holdDevice?: string;
  /** UDP flows stay with their holder until nothing was heard of them for this long, milliseconds. Absent: they follow the slot. */
  readonly udpIdleMs?: number;
  /** The NFLOG group that takes resets of unknown connections of settled slots, to be asked about first. Absent: they leave. */
  readonly resetGroup?: number;
}

/** Linux bounds the name of a device to 15 bytes; a longer one is told from its like by a hash. */
export function holdDeviceOf({ name, holdDevice }: ServiceEntry): string {
  if (holdDevice !== undefined) return holdDevice;
  return name.length <= 11 ? `mch-${name}` : `mch-${name.slice(0, 4)}-${fnv1a(name).slice(0, 6)}`;
}

export type Rows = ReadonlyMap<number, Row>;

/** Desired state of the kernel for one service: a plain value, applied whole. */
export interface ForwardingTable {
  readonly service: ServiceEntry;
  readonly rows: Rows;
  /** Absent: nothing stays. */
  readonly staying?: Staying;
}
