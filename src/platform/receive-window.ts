import { errnoOf, getsockopt, ioctl, setsockopt } from './libc.ts';

/** Numbers of <linux/tcp.h> and <linux/sockios.h>. */
const IPPROTO_TCP = 6;
const TCP_WINDOW_CLAMP = 10;
const SIOCINQ = 0x541b;
/** The kernel makes it half of SOCK_MIN_RCVBUF. With more a fast client keeps the queue full: the kernel widens the window again as it is read (tcp_rcv_space_adjust). */
const narrowBytes = 1;

/** Bytes that a TCP connection has received and nobody has read; 0 of what is no connection any more. */
export function unreadBytes(descriptor: number): number {
  const value = new Uint8Array(4);
  return attempt(() => ioctl(descriptor, SIOCINQ, value)) ? new DataView(value.buffer).getInt32(0, true) : 0;
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

function clamp(descriptor: number, bytes: number): void {
  setsockopt(descriptor, IPPROTO_TCP, TCP_WINDOW_CLAMP, new Uint8Array(Uint32Array.of(bytes).buffer));
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
