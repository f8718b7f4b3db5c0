import { type IpAddress, ipBytes, ipFromBytes } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import type { SocketImage } from '../handoff/socket-image.ts';
import { attachFilter, errnoOf, type FilterInstruction, getsockopt, ioctl, linux, setsockopt } from './libc.ts';

/** Numbers of <linux/tcp.h>, <linux/sockios.h> and <asm-generic/socket.h>. */
const IPPROTO_TCP = 6;
const TCP_MAXSEG = 2;
const TCP_WINDOW_CLAMP = 10;
const TCP_INFO = 11;
const TCP_QUICKACK = 12;
const TCP_REPAIR = 19;
const TCP_REPAIR_QUEUE = 20;
const TCP_QUEUE_SEQ = 21;
const TCP_REPAIR_OPTIONS = 22;
const TCP_TIMESTAMP = 24;
const TCP_REPAIR_WINDOW = 29;
const SO_REUSEADDR = 2;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;
const SO_DETACH_FILTER = 27;
const SO_BUF_LOCK = 72;
export const SIOCINQ = 0x541b;
export const SIOCOUTQ = 0x5411;
export const SIOCOUTQNSD = 0x894b;

/** Values of TCP_REPAIR: leaving it sends a window probe. */
const leave = 0;
const enter = 1;
/** Values of TCP_REPAIR_QUEUE. */
export const noQueue = 0;
export const receiveQueue = 1;
export const sendQueue = 2;
/** Kinds of struct tcp_repair_opt: those of the options on the wire. */
const optionMss = 2;
const optionScale = 3;
const optionSelectiveAcks = 4;
const optionTimestamp = 8;
/** tcpi_options. */
const hasTimestamps = 1;
const hasSelectiveAcks = 2;
const hasScale = 4;

/** BPF_RET | BPF_K: so many bytes of the packet are kept. */
const returnNothing: FilterInstruction = [0x06, 0, 0, 0];

/** tcpi_state, of <netinet/tcp.h>. */
const states: readonly string[] =
  'UNKNOWN ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING'.split(
    ' ',
  );

/** TCP_MAXSEG takes no less and no more. */
const maxsegMin = 88;
const maxsegMax = 32767;

/** TCP options of a socket as an image has them. */
export type TcpOptions = Pick<SocketImage, 'mss' | 'sendScale' | 'receiveScale' | 'selectiveAcks' | 'timestamp'>;

/** Throws an OperatingError without CAP_NET_ADMIN. */
export function enterRepair(fd: number): void {
  setRepair(fd, enter);
}

/** Sends a window probe. */
export function leaveRepair(fd: number): void {
  setRepair(fd, leave);
}

/** Drops every packet of the connection on arrival, unanswered: a socket in repair mode would take them, and confirm them. */
export function deafen(fd: number): void {
  attachFilter(fd, [returnNothing]);
}

export function hearAgain(fd: number): void {
  setOption(fd, linux.SOL_SOCKET, SO_DETACH_FILTER, 0);
}

/** A name of `states`. */
export function stateOf(fd: number): string {
  const info = new Uint8Array(8);
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, info);
  return states[info[0] ?? 0] ?? 'UNKNOWN';
}

/** Which queue TCP_QUEUE_SEQ, reading and writing mean in repair mode. */
export function selectQueue(fd: number, queue: number): void {
  setOption(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue);
}

/** Of the next byte that is to be put into `queue`. */
export function sequenceOf(fd: number, queue: number): number {
  selectQueue(fd, queue);
  return optionWords(fd, TCP_QUEUE_SEQ, 1)[0] ?? 0;
}

/** Only before the socket is connected. */
export function setSequence(fd: number, queue: number, sequence: number): void {
  selectQueue(fd, queue);
  setOption(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, sequence);
}

/** Bytes, by SIOCINQ, SIOCOUTQ or SIOCOUTQNSD (tcp(7)). */
export function queued(fd: number, request: number): number {
  const argument = new Uint8Array(4);
  ioctl(fd, request, argument);
  return new DataView(argument.buffer).getInt32(0, true);
}

export function readWindow(fd: number): SocketImage['window'] {
  const [sendUpdate = 0, send = 0, sendMax = 0, receive = 0, receiveUpdate = 0] = optionWords(fd, TCP_REPAIR_WINDOW, 5);
  return { sendUpdate, send, sendMax, receive, receiveUpdate };
}

export function writeWindow(fd: number, window: SocketImage['window']): void {
  const { sendUpdate, send, sendMax, receive, receiveUpdate } = window;
  setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, words([sendUpdate, send, sendMax, receive, receiveUpdate]));
}

/** Of a socket in repair mode. */
export function readOptions(fd: number): TcpOptions {
  const info = new Uint8Array(8);
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, info);
  const options = info[5] ?? 0;
  const scales = options & hasScale ? (info[6] ?? 0) : 0;
  return {
    // In repair mode: the peer's, not what path and options leave of it.
    mss: optionWords(fd, TCP_MAXSEG, 1)[0] ?? 0,
    sendScale: scales & 15,
    receiveScale: scales >> 4,
    selectiveAcks: (options & hasSelectiveAcks) !== 0,
    timestamp: options & hasTimestamps ? (optionWords(fd, TCP_TIMESTAMP, 1)[0] ?? 0) : null,
  };
}

/** Of a connected socket in repair mode that has sent nothing. */
export function restoreOptions(fd: number, image: TcpOptions): void {
  // Also scales of 0: the kernel has already chosen one of its own.
  const options: [number, number][] = [
    [optionMss, image.mss],
    [optionScale, image.sendScale | (image.receiveScale << 16)],
  ];
  if (image.selectiveAcks) options.push([optionSelectiveAcks, 0]);
  if (image.timestamp !== null) options.push([optionTimestamp, 0]);
  setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, words(options.flat()));
  if (image.timestamp !== null) setOption(fd, IPPROTO_TCP, TCP_TIMESTAMP, image.timestamp);
}

/** For the `connect` that follows. */
export function limitSegments(fd: number, mss: number): void {
  setOption(fd, IPPROTO_TCP, TCP_MAXSEG, Math.min(Math.max(mss, maxsegMin), maxsegMax));
}

/** Never lowers it. */
export function raiseWindowClamp(fd: number, bytes: number): void {
  const clamp = Math.min(bytes, 2 ** 30);
  if (clamp > (optionWords(fd, TCP_WINDOW_CLAMP, 1)[0] ?? 0)) setOption(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, clamp);
}

/** An acknowledgement that is due goes now. */
export function flushAcknowledgement(fd: number): void {
  // 1 would also make all later ones go at once.
  setOption(fd, IPPROTO_TCP, TCP_QUICKACK, 2);
}

export function allowAddressReuse(fd: number): void {
  setOption(fd, linux.SOL_SOCKET, SO_REUSEADDR, 1);
}

/** Forced, or within the host's limit where that is not permitted: false where it is too small. */
export function enlargeBuffer(fd: number, queue: 'send' | 'receive', bytes: number): boolean {
  const [forced, plain] = queue === 'send' ? [SO_SNDBUFFORCE, SO_SNDBUF] : [linux.SO_RCVBUFFORCE, linux.SO_RCVBUF];
  const size = Math.min(bytes, 2 ** 29);
  const isEnough = () => (optionWords(fd, plain, 1, linux.SOL_SOCKET)[0] ?? 0) >= size * 2;
  if (isEnough()) return true;
  try {
    setOption(fd, linux.SOL_SOCKET, forced, size);
  } catch (error) {
    if (errnoOf(error) !== 'EPERM') throw error;
    setOption(fd, linux.SOL_SOCKET, plain, size);
  }
  return isEnough();
}

/** Buffers that were enlarged may grow and shrink by themselves again (SO_BUF_LOCK, socket(7)). */
export function unlockBuffers(fd: number): void {
  setOption(fd, linux.SOL_SOCKET, SO_BUF_LOCK, 0);
}

/** struct sockaddr_in or sockaddr_in6. */
export function sockaddr(address: IpAddress, port: number): Uint8Array {
  const bytes = new Uint8Array(address.family === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, address.family === 4 ? linux.AF_INET : linux.AF_INET6, true);
  view.setUint16(2, port);
  bytes.set(ipBytes(address), address.family === 4 ? 4 : 8);
  return bytes;
}

/**
 * Of a struct sockaddr_in or sockaddr_in6; `scope` names a link. A server that listens on "::" holds its IPv4 connections in IPv6
 * sockets, with mapped addresses (RFC 4291, section 2.5.5.2).
 */
export function endpoint(bytes: Uint8Array): { address: IpAddress; port: number; scope: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const port = view.getUint16(2);
  if (view.getUint16(0, true) === linux.AF_INET) return { address: ipFromBytes(bytes.slice(4, 8)), port, scope: 0 };
  const address = ipFromBytes(bytes.slice(8, 24));
  return address.value >> 32n === 0xffffn
    ? { address: { family: 4, value: address.value & 0xffffffffn }, port, scope: 0 }
    : { address, port, scope: view.getUint32(24, true) };
}

function setRepair(fd: number, value: number): void {
  try {
    setOption(fd, IPPROTO_TCP, TCP_REPAIR, value);
  } catch (error) {
    if (errnoOf(error) !== 'EPERM') throw error;
    throw new OperatingError('tcp-repair', 'this process may not move TCP connections: it lacks CAP_NET_ADMIN', {
      remedy: 'run it as root, or with AmbientCapabilities=CAP_NET_ADMIN in its systemd unit',
      cause: error,
    });
  }
}

function setOption(fd: number, level: number, name: number, value: number): void {
  setsockopt(fd, level, name, words([value]));
}

function optionWords(fd: number, name: number, count: number, level = IPPROTO_TCP): number[] {
  const bytes = new Uint8Array(4 * count);
  getsockopt(fd, level, name, bytes);
  return [...new Uint32Array(bytes.buffer)];
}

function words(values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}
