import type { IpAddress } from '../base/address.ts';
import type { MacAddress } from '../base/mac.ts';

/** What a data plane looks at in an arriving packet. */
export interface Packet {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  /** TCP and UDP; meaningless in a non-first fragment. */
  readonly destinationPort?: number;
  /** As for the destination's. */
  readonly sourcePort?: number;
  /** TCP: a SYN without ACK, RST or FIN. */
  readonly opens?: boolean;
  /** RFC 792 type; ICMP only. */
  readonly icmpType?: number;
  /** In units of 8 bytes; above 0 the packet carries no transport header. */
  readonly fragmentOffset?: number;
  /** ICMP errors: the client that the packet was sent to that the error is about. */
  readonly about?: IpAddress;
  /** The peer that relayed the frame, or a copy of it, to this host's own link address; absent for a frame that came as the delivery brings them. */
  readonly relayedBy?: MacAddress;
}

/**
 * `local`: up the stack as the host's own; `drop`: gone; `pass`: none of the service's business, as if there were no table; `relay`: sent on to the peer
 * or to the holders that the row names; `hold`: to the hold device, and no further.
 */
export type Verdict = 'local' | 'drop' | 'pass' | 'relay' | 'hold';

/**
 * What becomes of a reset that says that this host does not know a connection. `withheld`: gone, as another host may know it; `asked`: the agent has it, to let it go when
 * nobody else knows the connection.
 */
export type ResetVerdict = 'leaves' | 'withheld' | 'asked';

/**
 * ICMP errors that routers send about packets of the service: they come from routers, so the source says nothing about
 * the slot, and every replica takes them (path-MTU discovery, RFC 1191).
 */
export const icmpErrorTypes = { 'destination-unreachable': 3, 'time-exceeded': 11, 'parameter-problem': 12 } as const;
