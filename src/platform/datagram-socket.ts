import {
  attachFilter,
  errnoOf,
  type FilterInstruction,
  getsockopt,
  linux,
  localAddress,
  receive,
  setsockopt,
} from './libc.ts';

/** Numbers of <asm-generic/socket.h>, <linux/in.h> and <linux/sock_diag.h>. */
const SO_TYPE = 3;
const SO_PROTOCOL = 38;
const SO_MEMINFO = 55;
const IPPROTO_IP = 0;
const IPPROTO_UDP = 17;
const IP_MULTICAST_ALL = 49;
const meminfoWords = 9;
const meminfoDrops = 8;
/** More datagrams than a receive queue has room for. */
const drainedMax = 1_000_000;

/** The port that an IPv4 socket of UDP is bound to; null of any other descriptor, and of one that is not bound. */
export function udpPortOf(descriptor: number): number | null {
  const name = localAddress(descriptor);
  const view = new DataView(name.buffer, name.byteOffset, name.length);
  if (name.length < 4 || view.getUint16(0, true) !== linux.AF_INET) return null;
  if (word(descriptor, SO_TYPE) !== linux.SOCK_DGRAM || word(descriptor, SO_PROTOCOL) !== IPPROTO_UDP) return null;
  return view.getUint16(2) || null;
}

/** The socket gets datagrams of the groups that it joined itself, and not of those that other sockets of the host have joined (ip(7)). */
export function onlyOwnGroups(descriptor: number): void {
  setsockopt(descriptor, IPPROTO_IP, IP_MULTICAST_ALL, new Uint8Array(4));
}

/** False, and nothing has changed, when the kernel refuses the program. */
export function attemptFilter(descriptor: number, program: readonly FilterInstruction[]): boolean {
  try {
    attachFilter(descriptor, program);
    return true;
  } catch {
    return false;
  }
}

/** Throws away what waits to be read. */
export function drainDatagrams(descriptor: number): void {
  const buffer = new Uint8Array(1);
  for (let drained = 0; drained < drainedMax; drained++) {
    try {
      if (receive(descriptor, buffer, linux.MSG_DONTWAIT) === null) return;
    } catch (error) {
      // An ICMP error of an earlier answer waits with the datagrams (udp(7)).
      if (errnoOf(error) === 'EBADF') return;
    }
  }
}

/** Datagrams that the kernel gave to no queue: the filter did not take them, or there was no room. */
export function droppedDatagrams(descriptor: number): number {
  const words = new Uint8Array(meminfoWords * 4);
  getsockopt(descriptor, linux.SOL_SOCKET, SO_MEMINFO, words);
  return new DataView(words.buffer).getUint32(meminfoDrops * 4, true);
}

function word(descriptor: number, name: number): number {
  const value = new Uint8Array(4);
  getsockopt(descriptor, linux.SOL_SOCKET, name, value);
  return new DataView(value.buffer).getInt32(0, true);
}
