import type { MemberFiles } from './certificates.ts';
import { listenForPeers, type PeerRefusal } from './peer-link-incoming.ts';
import { type OutgoingLink, outgoingLink } from './peer-link-outgoing.ts';
import { noRevocations, type Revocations, watchRevocations } from './revocations.ts';

/** Where a peer listens. */
export interface PeerAddress {
  readonly address: string;
  readonly port: number;
}

/** Of one direction of a link: each has a connection of its own. */
export interface LinkClosing {
  /** As seen from here: `incoming` carries what the peer sends. */
  readonly direction: 'incoming' | 'outgoing';
  /** Null when it was idle and ended in order; otherwise what was on its way may be lost. */
  readonly reason: string | null;
}

export interface PeerLinkLimits {
  /** Of one frame, without its length. */
  readonly frameBytesMax: number;
  /** Waiting in `send` for one peer; more are refused. */
  readonly waitingBytesMax: number;
  /** Connections that have not proven a name yet, from one address and from all. */
  readonly handshakesOfAddressMax: number;
  readonly handshakesMax: number;
  /** Begun within a second, by one address and by all. */
  readonly handshakesOfAddressPerSecondMax: number;
  readonly handshakesPerSecondMax: number;
  /** From the connection to the proven name. */
  readonly handshakeMs: number;
  /** Without a byte within a frame, or without a reader for one. */
  readonly stallMs: number;
  /** Without a frame, after which the sender ends its connection. The receiver waits twice as long. */
  readonly idleMs: number;
}

export const peerLinkLimits: PeerLinkLimits = {
  frameBytesMax: 20 * 1024 * 1024,
  waitingBytesMax: 64 * 1024 * 1024,
  handshakesOfAddressMax: 4,
  handshakesMax: 64,
  handshakesOfAddressPerSecondMax: 10,
  handshakesPerSecondMax: 50,
  handshakeMs: 5_000,
  stallMs: 10_000,
  idleMs: 60_000,
};

export interface PeerLinkOptions {
  readonly listen: { readonly address: string; readonly port: number };
  /** As PEM: `readMember` reads and checks them. A file of revocations is followed. */
  readonly tls: MemberFiles;
  readonly cluster: string;
  /** The own name, as in the certificate. */
  readonly node: string;
  /** Null for a name that is none of a peer. */
  readonly addressOf: (peer: string) => PeerAddress | null;
  /** Called in the sender's order. The next frame is read when the promise resolves; what it throws is not caught here. */
  readonly onFrame: (peer: string, bytes: Uint8Array) => void | Promise<void>;
  /** Not called for what `close` ends. */
  readonly onClosed: (peer: string, closing: LinkClosing) => void;
  /** One line about a saved file of revocations that is not good; the last good one stays in force. */
  readonly onProblem?: (line: string) => void;
  readonly limits?: Partial<PeerLinkLimits>;
}

/** What the two directions share. */
export interface PeerLinkSettings extends PeerLinkOptions {
  readonly limits: PeerLinkLimits;
  readonly revocations: Revocations;
}

export interface PeerLinks {
  /** The port listened on. */
  readonly port: number;
  /** Connections that were refused, by reason. */
  readonly refused: ReadonlyMap<PeerRefusal, number>;
  /**
   * Resolves when the kernel has taken the frame, which says nothing about the peer; the frames of one peer arrive in the order of the calls. Connects when
   * needed. The bytes must not change before. Rejects with an OperatingError when the link cannot be had or breaks, and so do all calls that
   * wait behind this one; the next call tries again.
   */
  send(peer: string, bytes: Uint8Array): Promise<void>;
  /** Ends all connections; what is still waiting to be sent is rejected. */
  close(): Promise<void>;
}

/**
 * Connections for bulk between the agents of a cluster: mutual TLS 1.3, both sides with a certificate of the cluster's authority that names
 * them and is not revoked. Throws an OperatingError when the address cannot be listened on, or the file of revocations is not good.
 */
export async function openPeerLinks(options: PeerLinkOptions): Promise<PeerLinks> {
  const { ca, revoked } = options.tls;
  const revocations = revoked === undefined ? noRevocations : watchRevocations(revoked, ca, options.onProblem);
  const settings: PeerLinkSettings = { ...options, limits: { ...peerLinkLimits, ...options.limits }, revocations };
  const listener = await listenForPeers(settings).catch((error: unknown) => {
    revocations.close();
    throw error;
  });
  const links = new Map<string, OutgoingLink>();
  return {
    port: listener.port,
    refused: listener.refused,
    async send(peer, bytes) {
      const link = links.get(peer) ?? outgoingLink(peer, settings);
      // Only names that have an address are kept: their number is that of the peers.
      if (settings.addressOf(peer)) links.set(peer, link);
      await link.send(bytes);
    },
    async close() {
      revocations.close();
      await Promise.all([listener.close(), ...[...links.values()].map((link) => link.close())]);
    },
  };
}
