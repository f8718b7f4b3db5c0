import type { IpAddress } from '../base/address.ts';
import type { Packet } from '../dataplane/packet.ts';
import type { Host } from './host.ts';

/** One transmission of a TCP segment from a client; a retransmission is another. */
export interface Frame {
  readonly kind: 'syn' | 'ack' | 'request' | 'fin' | 'rst';
  readonly client: Peer;
  readonly port: number;
  /** The server's initial sequence number that the segment acknowledges; 0 in a SYN. */
  readonly serverIsn: number;
  /** Requests of the connection so far, this one included. */
  readonly request: number;
  /** Who answered this very frame first, and whether it could not know then that it had been taken for gone. */
  answered: {
    readonly by: Host;
    readonly at: number;
    readonly relayed: boolean;
    readonly isUninformed: boolean;
  } | null;
}

/** What a server sends to a client. */
export interface Reply {
  readonly kind: 'syn-ack' | 'response' | 'fin-ack' | 'rst';
  readonly host: Host;
  /** In which life of the host it was sent. */
  readonly boot: number;
  readonly client: Peer;
  readonly port: number;
  /** Of a reset: the number that the segment it answers acknowledged, by which the client knows that it is meant. */
  readonly serverIsn: number;
  readonly request: number;
}

/** A client as frames name it. */
export interface Peer {
  readonly index: number;
  readonly address: IpAddress;
  readonly slot: number;
  receive(reply: Reply): void;
  /** What a data plane sees of a frame: made once, as there are many frames. `relayer` is the index of the host, -1 for none. */
  packet(opens: boolean, relayer: number): Packet;
}
