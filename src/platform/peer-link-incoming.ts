import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { memberOf } from '../identity/member-name.ts';
import type { PeerLinkLimits, PeerLinkSettings } from './peer-link.ts';
import { frameReader, welcome } from './peer-link-frames.ts';

/** Why a connection is refused, cheapest look first. */
export type PeerRefusal =
  | 'too-many-handshakes'
  /** No TLS 1.3, or not in time. */
  | 'handshake'
  | 'no-certificate'
  /** Not signed by the authority, not in force, or not for clients. */
  | 'certificate'
  /** The authority has signed it, and it names no replica. */
  | 'no-member'
  | 'other-cluster'
  /** A certificate that is not believed any more. */
  | 'revoked'
  /** A replica that is not configured, or this one. */
  | 'not-a-peer';

export interface LinkListener {
  readonly port: number;
  readonly refused: ReadonlyMap<PeerRefusal, number>;
  close(): Promise<void>;
}

/** The newest connection of a peer; `done` when all of its frames are handled. */
interface Incoming {
  readonly socket: TLSSocket;
  readonly done: Promise<void>;
}

export async function listenForPeers(settings: PeerLinkSettings): Promise<LinkListener> {
  const refused = new Map<PeerRefusal, number>();
  const refuse = (socket: Socket, reason: PeerRefusal): void => {
    refused.set(reason, (refused.get(reason) ?? 0) + 1);
    socket.destroy();
  };
  const incoming = new Map<string, Incoming>();
  const gate = handshakeGate(settings);
  let isClosing = false;

  const tls = tlsServer(settings);
  tls.on('tlsClientError', (error, socket) => refuse(socket, refusalOfTls(error, socket)));
  tls.on('secureConnection', (socket) => {
    gate.leave(socket);
    // Told by the reading loop.
    socket.on('error', () => {});
    const peer = peerOf(socket, settings);
    if (!peer.ok) return refuse(socket, peer.reason);
    const earlier = incoming.get(peer.name);
    // A peer that lost its memory of the earlier one: a second is never wanted.
    earlier?.socket.destroy(new Error('the peer has connected anew'));
    const done = serve(peer, socket, earlier?.done);
    incoming.set(peer.name, { socket, done });
  });
  const server = createTcpServer((socket) => {
    if (!gate.enter(socket)) return refuse(socket, 'too-many-handshakes');
    tls.emit('connection', socket);
  });

  async function serve(
    { name: peer, serial }: Extract<Peer, { ok: true }>,
    socket: TLSSocket,
    earlier: Promise<void> | undefined,
  ): Promise<void> {
    await earlier;
    socket.write(Uint8Array.of(welcome));
    const onFrame = (bytes: Uint8Array) => {
      if (settings.revocations.has(serial)) socket.destroy(new Error('its certificate is revoked'));
      // Frames of the same chunk are already here.
      return isClosing || socket.destroyed ? undefined : settings.onFrame(peer, bytes);
    };
    const reason = await readFrames(socket, settings.limits, onFrame);
    if (incoming.get(peer)?.socket === socket) incoming.delete(peer);
    if (!isClosing) settings.onClosed(peer, { direction: 'incoming', reason });
  }

  await listening(server, settings);
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound ? bound.port : settings.listen.port,
    refused,
    async close() {
      isClosing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      gate.close();
      for (const { socket } of incoming.values()) socket.destroy();
      await closed;
    },
  };
}

/** It never listens itself: what may begin a handshake is decided before. */
function tlsServer({ tls, limits }: PeerLinkSettings): TlsServer {
  return createTlsServer({
    ...{ ca: tls.ca, cert: tls.certificate, key: tls.key },
    ...{ requestCert: true, rejectUnauthorized: true },
    ...{ minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', handshakeTimeout: limits.handshakeMs },
  });
}

interface HandshakeGate {
  /** False for a connection that is one too many. */
  enter(socket: Socket): boolean;
  /** The peer has proven its name. */
  leave(socket: Socket): void;
  close(): void;
}

/** A handshake costs about a millisecond of the thread that also renews leases, and anybody can ask for one. */
function handshakeGate({ limits }: PeerLinkSettings): HandshakeGate {
  const within = new Map<string, Socket>();
  let begun: string[] = [];
  let second = 0;
  const of = (address: string, all: readonly string[]): number => all.filter((each) => each === address).length;

  return {
    enter(socket) {
      const { remoteAddress: address = '' } = socket;
      const now = Math.floor(performance.now() / 1000);
      if (now !== second) begun = [];
      second = now;
      const present = [...within.values()].map(({ remoteAddress = '' }) => remoteAddress);
      if (present.length >= limits.handshakesMax || of(address, present) >= limits.handshakesOfAddressMax) return false;
      const { handshakesPerSecondMax, handshakesOfAddressPerSecondMax } = limits;
      if (begun.length >= handshakesPerSecondMax || of(address, begun) >= handshakesOfAddressPerSecondMax) return false;
      begun.push(address);
      const end = endOf(socket);
      within.set(end, socket);
      socket.once('close', () => within.delete(end));
      return true;
    },
    leave: (socket) => void within.delete(endOf(socket)),
    close() {
      for (const socket of within.values()) socket.destroy();
    },
  };
}

function refusalOfTls(error: NodeJS.ErrnoException, { authorizationError }: TLSSocket): PeerRefusal {
  if (error.code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') return 'no-certificate';
  return authorizationError ? 'certificate' : 'handshake';
}

type Peer =
  | { readonly ok: true; readonly name: string; readonly serial: string }
  | { readonly ok: false; readonly reason: PeerRefusal };

function peerOf(socket: TLSSocket, { cluster, node, addressOf, revocations }: PeerLinkSettings): Peer {
  const certificate = socket.getPeerX509Certificate();
  // A session taken up again would bring no certificate to look at; no peer asks for it.
  if (!socket.authorized || socket.isSessionReused() || !certificate) return { ok: false, reason: 'certificate' };
  const member = memberOf(certificate);
  if (!member.ok) return { ok: false, reason: 'no-member' };
  if (member.value.cluster !== cluster) return { ok: false, reason: 'other-cluster' };
  const { replica } = member.value;
  if (replica === node || !addressOf(replica)) return { ok: false, reason: 'not-a-peer' };
  const { serialNumber: serial } = certificate;
  return revocations.has(serial) ? { ok: false, reason: 'revoked' } : { ok: true, name: replica, serial };
}

/** Handles frames until the connection ends; returns why, or null when it ended in order. */
async function readFrames(
  socket: TLSSocket,
  limits: PeerLinkLimits,
  onFrame: (bytes: Uint8Array) => void | Promise<void>,
): Promise<string | null> {
  const reader = frameReader(limits.frameBytesMax);
  let failure: string | null = null;
  socket.on('timeout', () =>
    socket.destroy(new Error(reader.isAmidFrame ? 'it stopped within a frame' : 'it fell silent')),
  );
  socket.setTimeout(2 * limits.idleMs);
  for await (const chunk of chunksOf(socket, (reason) => (failure = reason))) {
    // Whoever handles frames may take its time.
    socket.setTimeout(0);
    for (const frame of reader.take(chunk)) {
      if (!frame.ok) return frame.reason;
      await onFrame(frame.value);
    }
    socket.setTimeout(reader.isAmidFrame ? limits.stallMs : 2 * limits.idleMs);
  }
  return failure ?? (reader.isAmidFrame ? 'it ended within a frame' : null);
}

/** The stream's own failures end it, and are told; what the reader of the chunks throws passes. */
async function* chunksOf(socket: TLSSocket, onFailure: (reason: string) => void): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) yield chunk;
  } catch (error) {
    onFailure(messageOf(error));
  }
}

function endOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

async function listening(server: Server, { listen: { address, port } }: PeerLinkSettings): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, address, resolve);
    });
  } catch (cause) {
    throw new OperatingError('peer-link', `cannot listen for peers on ${address} port ${port}: ${messageOf(cause)}`, {
      cause,
    });
  }
}
