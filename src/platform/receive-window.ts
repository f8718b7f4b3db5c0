import { errnoOf, getsockopt, ioctl, linux, setsockopt } from './libc.ts';

/** Numbers of <linux/tcp.h> and <linux/sockios.h>. */
const IPPROTO_TCP = 6;
const TCP_WINDOW_CLAMP = 10;
const TCP_INFO = 11;
/** Where tcpi_last_data_recv and, since Linux 6.2, tcpi_rcv_wnd are in struct tcp_info. */
const lastReceivedAt = 52;
const windowAt = 232;
const SO_BUF_LOCK = 72;
const SIOCINQ = 0x541b;
const SIOCOUTQ = 0x5411;
/** The kernel makes it half of SOCK_MIN_RCVBUF. With more a fast client keeps the queue full: the kernel widens the window again as it is read (tcp_rcv_space_adjust). */
const narrowBytes = 1;

/** Twice that is what the kernel lets wait of a connection that shall take no more. */
const shutBytes = 64 * 1024;

/** Bytes that a TCP connection has received and nobody has read; 0 of what is no connection any more. */
export function unreadBytes(descriptor: number): number {
  return queued(descriptor, SIOCINQ);
}

/** Bytes that were written to a TCP connection and its peer has not acknowledged; 0 of what is no connection any more. */
export function unacknowledgedBytes(descriptor: number): number {
  return queued(descriptor, SIOCOUTQ);
}

/**
 * Bytes that the kernel offers the peer of a TCP connection at most; it grows with what arrives in a round trip (net.ipv4.tcp_moderate_rcvbuf of tcp(7)). 0 of what is no
 * connection any more.
 */
export function windowMax(descriptor: number): number {
  const value = new Uint8Array(4);
  const isKnown = attempt(() => getsockopt(descriptor, IPPROTO_TCP, TCP_WINDOW_CLAMP, value));
  return isKnown ? new DataView(value.buffer).getUint32(0, true) : 0;
}

/** Bytes that the peer of a TCP connection was last offered. Null before Linux 6.2, which does not tell, and of what is no connection any more. */
export function windowLeft(descriptor: number): number | null {
  return information(descriptor, windowAt);
}

/** Milliseconds since a TCP connection last received something; 0 of what is no connection any more. */
export function silenceMs(descriptor: number): number {
  return information(descriptor, lastReceivedAt) ?? 0;
}

/**
 * From now on the peer is offered little more room than it has been: what it was offered it may still use (RFC 9293, section 3.8.6). Returns what opens the
 * window again. Needs no privilege.
 */
export function narrowWindow(descriptor: number): () => void {
  const before = windowMax(descriptor);
  const isNarrow = before > narrowBytes && attempt(() => clamp(descriptor, narrowBytes));
  return () => {
    if (isNarrow) attempt(() => clamp(descriptor, before));
  };
}

/**
 * For a connection with a narrow window that nobody reads: once `shutBytes` wait the peer is offered nothing, where a narrow window is offered again and again. Returns what
 * lets more wait. Needs no privilege.
 */
export function shutWindow(descriptor: number): () => void {
  const value = new Uint8Array(4);
  if (!attempt(() => getsockopt(descriptor, linux.SOL_SOCKET, linux.SO_RCVBUF, value))) return () => {};
  // The kernel doubles what it is told.
  const before = new DataView(value.buffer).getUint32(0, true) / 2;
  setBuffer(descriptor, Math.min(shutBytes, before));
  return () => {
    setBuffer(descriptor, before);
    // It may grow by itself again (socket(7)).
    attempt(() => setsockopt(descriptor, linux.SOL_SOCKET, SO_BUF_LOCK, word(0)));
  };
}

function setBuffer(descriptor: number, bytes: number): void {
  attempt(() => setsockopt(descriptor, linux.SOL_SOCKET, linux.SO_RCVBUF, word(bytes)));
}

/** Null where the kernel wrote nothing. */
function information(descriptor: number, at: number): number | null {
  const unwritten = 0xffffffff;
  const info = new Uint8Array(windowAt + 4).fill(0xff);
  const isKnown = attempt(() => getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, info));
  const value = isKnown ? new DataView(info.buffer).getUint32(at, true) : unwritten;
  return value === unwritten ? null : value;
}

function queued(descriptor: number, request: number): number {
  const value = new Uint8Array(4);
  return attempt(() => ioctl(descriptor, request, value)) ? new DataView(value.buffer).getInt32(0, true) : 0;
}

function clamp(descriptor: number, bytes: number): void {
  setsockopt(descriptor, IPPROTO_TCP, TCP_WINDOW_CLAMP, word(bytes));
}

function word(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** False where the kernel refuses, as of a descriptor that is closed. */
function attempt(call: () => void): boolean {
  try {
    call();
    return true;
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return false;
  }
}
