import { formatIp, type IpAddress, sameIp } from '../base/address.ts';
import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';
import { type Partition, slotOf } from '../space/partition.ts';
import type { Port } from './forwarding-table.ts';
import type { Packet } from './packet.ts';

/** A neighbour at one of a router's links: a replica's own address, and the device that it is behind. */
export interface NextHop {
  readonly address: IpAddress;
  readonly device: string;
}

/** A flow that goes its own way, whoever owns its slot. */
export interface TaggedFlow extends TcpFlow {
  readonly protocol: Port['protocol'];
}

/** What a router does with the packets of one service: those of a tagged flow go where the tag says, unless they open a new one, all others to the owner of their slot, and where there is none, nowhere. */
export interface EdgeService {
  /** Lower-case letters, digits and "-": names the kernel table. */
  readonly name: string;
  /** What clients send to: where there are `clientDevices`, a multicast group. */
  readonly address: IpAddress;
  /** The devices that clients of a group are behind: datagrams to it are taken from these alone. Absent: the address is one host's, and routed. */
  readonly clientDevices?: readonly string[];
  /** Absent: all; the replicas drop what is not served anyway. */
  readonly ports?: readonly Port[];
  readonly partition: Partition;
  readonly owners: ReadonlyMap<number, NextHop>;
  /** By `tagKey`; of a group there are none. */
  readonly tags: ReadonlyMap<string, NextHop>;
}

/** Desired state of a router's kernel: a plain value, applied whole. */
export interface EdgeTable {
  readonly services: readonly EdgeService[];
}

/** As many neighbours as one router sends packets of services to: each costs a routing rule that others are looked up after. */
export const nextHopsMax = 250;

/** One text for each, as nftables writes the concatenation of client address, protocol, client port and service port. */
export function tagKey({ protocol, ...flow }: TaggedFlow): string {
  return flowKey(flow).replace(' . ', ` . ${protocol} . `);
}

export function hopKey({ address, device }: NextHop): string {
  return `${formatIp(address)} ${device}`;
}

/** Packets of a service since its table was first installed. */
export interface EdgeCounters {
  readonly forwarded: number;
  readonly tagged: number;
  /** ICMP errors, sent on to whoever has the packet that they are about. */
  readonly errors: number;
  readonly dropped: number;
}

/** What the kernel did with a table. */
export interface EdgeApplied {
  /** What it refused, piece by piece; empty when all stands. */
  readonly errors: readonly unknown[];
  /** Names of the services that stand as they are to. */
  readonly services: ReadonlySet<string>;
  /** Whether their packets that are for this next hop go there. */
  readonly reaches: (hop: NextHop) => boolean;
}

/** Makes a router's kernel equal to a table. Blocks the caller: for 10 µs an element, and for some 10 ms when a next hop is new. */
export interface EdgePlane {
  /**
   * When it returns, the kernel judges every new packet by `table`, but for what it refused: a next hop that cannot be had, whose packets go nowhere; or a service, for which it does as the table before or
   * this one says, slot by slot. All the rest stands nevertheless. A slot that changes hands does so in one transaction: no packet of it finds nobody. Throws an OperatingError and changes nothing when
   * there are too many next hops.
   */
  apply(table: EdgeTable): EdgeApplied;
  /**
   * Goes on from what an earlier process left for exactly these services, of which owners and tags do not count: those that the kernel has, with theirs. Forgets what was
   * applied by this process.
   */
  adopt(services: readonly EdgeService[]): EdgeTable;
  /** Puts back what somebody else has removed or changed of the table applied last; true when there was something. */
  repair(): boolean;
  /** By name of the service; of a service that does not stand there are none. */
  counters(name: string): EdgeCounters | null;
  /** Removes what `apply` made for the services applied or adopted last; harmless when there is nothing. */
  remove(): void;
}

/** Where a packet of a service goes: the meaning of a table, for those who have no kernel. Null: nowhere. `about` is the packet that an ICMP error complains of. */
export function nextHopOf(service: EdgeService, packet: Packet, about: Packet | null = null): NextHop | null {
  if (!sameIp(packet.destination, service.address)) return null;
  const { source, sourcePort, destinationPort, protocol, fragmentOffset = 0 } = about ? reversed(about) : packet;
  if (service.clientDevices && protocol !== 'udp') return null;
  const hasPorts = protocol !== 'icmp' && fragmentOffset === 0;
  if (hasPorts && sourcePort !== undefined && destinationPort !== undefined) {
    const isServed = service.ports?.some((each) => each.protocol === protocol && each.port === destinationPort) ?? true;
    if (!isServed && !about) return null;
    const tag = service.tags.get(
      tagKey({ protocol, client: source, clientPort: sourcePort, servicePort: destinationPort }),
    );
    if (tag && !packet.opens) return tag;
  }
  return service.owners.get(slotOf(service.partition, source)) ?? null;
}

/** An error is about a packet that the service sent. */
function reversed({ source, sourcePort, destination, destinationPort, ...rest }: Packet): Packet {
  return {
    ...rest,
    ...{ source: destination, destination: source },
    ...(destinationPort === undefined ? {} : { sourcePort: destinationPort }),
    ...(sourcePort === undefined ? {} : { destinationPort: sourcePort }),
  };
}
