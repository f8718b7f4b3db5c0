import { X509Certificate } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { memberOf } from '../identity/member-name.ts';
import type { PeerLinkSettings } from './peer-link.ts';
import { welcome, writeFrame } from './peer-link-frames.ts';

/** After which a connection that is to end in order ends at once. */
const closeMs = 1_000;

/** What is sent to one peer: a connection while there is something to send, and a while longer. */
export interface OutgoingLink {
  send(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

interface Waiting {
  readonly bytes: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: OperatingError) => void;
}

export function outgoingLink(peer: string, settings: PeerLinkSettings): OutgoingLink {
  const { frameBytesMax, waitingBytesMax } = settings.limits;
  const connection = connectionTo(peer, settings);
  const waiting: Waiting[] = [];
  let waitingBytes = 0;
  let isSending = false;
  let isClosed = false;

  async function sendAll(): Promise<void> {
    isSending = true;
    try {
      for (let next = waiting[0]; next; next = waiting[0]) {
        if (isClosed) throw new Error('links are closed');
        await sendOne(await connection.ready(), next.bytes);
        waiting.shift();
        waitingBytes -= next.bytes.length;
        next.resolve();
      }
      connection.rest();
    } catch (error) {
      connection.abandon();
      // Those behind a frame that is lost would arrive without it.
      for (const { reject } of waiting.splice(0)) reject(failure(lineOf(error), error));
      waitingBytes = 0;
    }
    isSending = false;
  }

  function failure(reason: string, cause?: unknown): OperatingError {
    return new OperatingError('peer-link', `no link to "${peer}": ${reason}`, { cause });
  }

  return {
    async send(bytes) {
      if (isClosed) throw failure('links are closed');
      if (bytes.length > frameBytesMax) throw failure(`a frame of ${bytes.length} bytes, allowed are ${frameBytesMax}`);
      if (waitingBytes + bytes.length > waitingBytesMax) throw failure(`more than ${waitingBytesMax} bytes wait`);
      waitingBytes += bytes.length;
      const sent = new Promise<void>((resolve, reject) => waiting.push({ bytes, resolve, reject }));
      if (!isSending) void sendAll();
      await sent;
    },
    async close() {
      isClosed = true;
      await connection.close();
    },
  };
}

async function sendOne(socket: TLSSocket, bytes: Uint8Array): Promise<void> {
  try {
    await writeFrame(socket, bytes);
  } catch (cause) {
    throw socket.errored ?? new Error('it ended the connection', { cause });
  }
}

/** One at a time, made when it is needed, ended when it rests for long. */
interface Connection {
  /** Open, the peer's name proven; it may not take nothing for long until it rests. */
  ready(): Promise<TLSSocket>;
  rest(): void;
  /** Ends it at once. */
  abandon(): void;
  /** Ends it for good, in order when it rests. */
  close(): Promise<void>;
}

function connectionTo(peer: string, settings: PeerLinkSettings): Connection {
  const { stallMs, idleMs } = settings.limits;
  let socket: TLSSocket | null = null;
  /** Of the peer's certificate. */
  let serial = '';
  let isResting = true;
  let isClosed = false;

  async function opened(): Promise<TLSSocket> {
    // One that ends is waited for, until the peer has read all that it carried: order is kept from one connection to the next.
    if (socket && (socket.writableEnded || socket.destroyed)) await closed(socket);
    if (isClosed) throw new Error('links are closed');
    if (socket) return socket;
    const opening = dial(peer, settings);
    socket = opening;
    opening.once('close', () => {
      if (socket === opening) socket = null;
    });
    await welcomed(opening, settings);
    // A connection that has ended would not tell any more.
    serial = opening.getPeerX509Certificate()?.serialNumber ?? '';
    opening.on('timeout', () => {
      if (opening.writableEnded) opening.destroy();
      else if (isResting) endInOrder(opening, stallMs);
      else opening.destroy(new Error(`it took nothing for ${stallMs} ms`));
    });
    opening.once('close', () => {
      const reason = opening.errored ? lineOf(opening.errored) : null;
      if (!isClosed) settings.onClosed(peer, { direction: 'outgoing', reason });
    });
    return opening;
  }

  return {
    async ready() {
      isResting = false;
      const open = await opened();
      if (settings.revocations.has(serial)) throw new Error('its certificate is revoked');
      return open.setTimeout(stallMs);
    },
    rest() {
      isResting = true;
      socket?.setTimeout(idleMs);
    },
    abandon: () => void socket?.destroy(),
    async close() {
      isClosed = true;
      if (!socket) return;
      if (isResting) endInOrder(socket, closeMs);
      else socket.destroy(new Error('links are closed'));
      await closed(socket);
    },
  };
}

/** A connection to the peer's address. It fails unless the other side proves to be this peer, by a certificate of the authority. */
function dial(peer: string, { addressOf, tls, cluster, revocations }: PeerLinkSettings): TLSSocket {
  const address = addressOf(peer);
  if (!address) throw new Error('it is none of the configured peers');
  const socket = connect({
    ...{ host: address.address, port: address.port },
    ...{ ca: tls.ca, cert: tls.certificate, key: tls.key, rejectUnauthorized: true },
    ...{ minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' },
    checkServerIdentity(_host, { raw }): Error | undefined {
      const certificate = new X509Certificate(raw);
      const member = memberOf(certificate);
      if (!member.ok) return new Error(`${address.address} answers with another certificate: ${member.reason}`);
      const { replica, cluster: itsCluster } = member.value;
      if (revocations.has(certificate.serialNumber)) return new Error('its certificate is revoked');
      if (replica === peer && itsCluster === cluster) return undefined;
      return new Error(`${address.address} answers as "${replica}" of "${itsCluster}"`);
    },
  });
  // Whoever waits for the connection is told by `close`.
  socket.on('error', () => {});
  return socket.setNoDelay(true);
}

function welcomed(socket: TLSSocket, { limits }: PeerLinkSettings): Promise<void> {
  let isSecure = false;
  socket.once('secureConnect', () => (isSecure = true));
  return new Promise((resolve, reject) => {
    const late = new Error(`no answer within ${limits.handshakeMs} ms`);
    const timer = setTimeout(() => socket.destroy(late), limits.handshakeMs);
    socket.once('data', (first: Uint8Array) => {
      // It has nothing more to say.
      socket.once('data', () => socket.destroy(new Error('it sends where it should only read')));
      if (first.length !== 1 || first[0] !== welcome) socket.destroy(new Error('it speaks another version'));
      else resolve();
      clearTimeout(timer);
    });
    socket.once('close', () => {
      clearTimeout(timer);
      // A side that refuses a certificate under TLS 1.3 just ends the connection, after the other took it for open.
      const isRefused = isSecure && (socket.errored as NodeJS.ErrnoException | null)?.code !== undefined;
      const refused = new Error('it refuses the certificate of this replica');
      reject(isRefused || !socket.errored ? refused : socket.errored);
    });
  });
}

/** OpenSSL's errors have places in its source in their messages, and a short `reason`. */
function lineOf(error: unknown): string {
  const { reason } = error as { readonly reason?: unknown };
  return typeof reason === 'string' ? reason : messageOf(error);
}

function endInOrder(socket: TLSSocket, withinMs: number): void {
  socket.setTimeout(withinMs, () => socket.destroy());
  socket.end();
}

function closed(socket: TLSSocket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}
