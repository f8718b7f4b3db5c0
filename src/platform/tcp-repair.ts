import type { Socket } from 'node:net';
import { type IpAddress, ipBytes, ipFromBytes } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { queueBytesMax, type SocketImage } from '../handoff/socket-image.ts';
import {
  bind,
  close,
  connect,
  duplicate,
  errnoOf,
  getsockopt,
  ioctl,
  linux,
  localAddress,
  receive,
  remoteAddress,
  sendSome,
  setsockopt,
  socket,
} from './libc.ts';

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
const SO_BUF_LOCK = 72;
const SIOCINQ = 0x541b;
const SIOCOUTQ = 0x5411;
const SIOCOUTQNSD = 0x894b;

/** Values of TCP_REPAIR: leaving it sends a window probe. */
const leave = 0;
const enter = 1;
/** Values of TCP_REPAIR_QUEUE. */
const noQueue = 0;
const receiveQueue = 1;
const sendQueue = 2;
/** Kinds of struct tcp_repair_opt: those of the options on the wire. */
const optionMss = 2;
const optionScale = 3;
const optionSelectiveAcks = 4;
const optionTimestamp = 8;
/** tcpi_options. */
const hasTimestamps = 1;
const hasSelectiveAcks = 2;
const hasScale = 4;

/** tcpi_state, of <netinet/tcp.h>. */
const states: readonly string[] =
  'UNKNOWN ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING'.split(
    ' ',
  );

/** TCP_MAXSEG takes no less and no more. */
const maxsegMin = 88;
const maxsegMax = 32767;
/** A timer of the kernel may come between the calls that read a socket, but not every time. */
const attemptsMax = 3;
/** The head of the send queue may hold one segment of which a part is acknowledged. */
const segmentBytesMax = 65536;
/** The kernel allots one buffer for each write to a queue. */
const fillBytes = 32 * 1024;

/**
 * A duplicate of the descriptor of a connected Node socket, the caller's to close: it outlives `socket.destroy()`. Node does
 * not document where the descriptor is; null when it is not there, as after the socket's end.
 */
export function descriptorOf(socket: Socket): number | null {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown = typeof handle === 'object' && handle ? Reflect.get(handle, 'fd') : null;
  return typeof fd === 'number' && fd >= 0 ? duplicate(fd) : null;
}

/**
 * Freezes a TCP connection and reads it as a value. From then on `descriptor` is in repair mode until `thaw` or `closeSilently`.
 * Its packets must be cut off before, and stay so: a frozen socket still receives. The kernel refuses Node's reads and writes
 * meanwhile, which it would call errors of the socket: end it, or thaw, in the same turn. A refusal or a throw leaves the
 * connection as it was.
 *
 * Refused: another state than ESTABLISHED (repair has no way to give a new socket an end that was seen or sent), a queue larger than
 * an image holds, a link-local peer, a connection that changed while it was read. What arrived out of order is left out: the peer
 * sends it again. Throws an OperatingError without CAP_NET_ADMIN.
 */
export function exportSocket(descriptor: number): Result<SocketImage> {
  const before = stateOf(descriptor);
  if (before !== 'ESTABLISHED') return refuse(notWhole(before));
  setRepair(descriptor, enter);
  const window = readWindow(descriptor);
  let frozen: Result<SocketImage> | null = null;
  try {
    silence(descriptor, window);
    frozen = readFrozen(descriptor, window.send);
    return frozen;
  } finally {
    if (!frozen?.ok) {
      setsockopt(
        descriptor,
        IPPROTO_TCP,
        TCP_REPAIR_WINDOW,
        windowWords({ ...readWindow(descriptor), send: window.send }),
      );
      thaw(descriptor);
    }
  }
}

/** Leaves repair mode with a window probe: the connection goes on as before the export when its peer answers. */
export function thaw(descriptor: number): void {
  setRepair(descriptor, leave);
  // Repair mode forced address reuse, and leaving it forbids it: a server that restarts could not bind.
  setOption(descriptor, linux.SOL_SOCKET, SO_REUSEADDR, 1);
}

/** Ends the connection here without a packet, for all duplicates of `descriptor`, which is closed. */
export function closeSilently(descriptor: number): void {
  try {
    setRepair(descriptor, enter);
    // Disconnecting ends it for other holders of the socket too; the kernel spares the reset in repair mode.
    connect(descriptor, new Uint8Array(16));
  } finally {
    close(descriptor);
  }
}

/**
 * A non-blocking socket that holds the connection of `image`, still in repair mode: `goLive` or `closeSilently` is next. The address
 * must be one of this host. Throws an OperatingError where the kernel refuses, and leaves nothing behind.
 */
export function importSocket(image: SocketImage): number {
  const family = image.local.family === 4 ? linux.AF_INET : linux.AF_INET6;
  const fd = socket(family, linux.SOCK_STREAM | linux.SOCK_NONBLOCK, IPPROTO_TCP);
  try {
    setRepair(fd, enter);
    establish(fd, image);
    fillQueues(fd, image);
    restoreWindow(fd, image);
    return fd;
  } catch (error) {
    close(fd);
    if (errnoOf(error) === null) throw error;
    const message = `import: the kernel does not take this connection: ${(error as Error).message}`;
    throw new OperatingError('tcp-repair', message, { cause: error });
  }
}

/**
 * Leaves repair mode, with a window probe: it opens stateful firewalls on the way for the moved connection. Then what `image` had
 * never sent is sent. `descriptor` may be given to `new net.Socket({ fd })` from then on.
 */
export function goLive(descriptor: number, image: SocketImage): void {
  thaw(descriptor);
  const { sendQueue: queue, unsentBytes } = image;
  // Whoever writes in repair mode marks the bytes as sent, and the peer would wait for a time-out to see them.
  writeAll(descriptor, queue.subarray(queue.length - unsentBytes));
  // The buffers may grow and shrink by themselves again (SO_BUF_LOCK, socket(7)).
  setOption(descriptor, linux.SOL_SOCKET, SO_BUF_LOCK, 0);
}

function notWhole(state: string): string {
  const halfClosed = ['FIN_WAIT1', 'FIN_WAIT2', 'CLOSE_WAIT', 'LAST_ACK', 'CLOSING'].includes(state);
  return halfClosed ? `half-closed (${state}): its end of stream cannot be moved` : `not established (${state})`;
}

/** A socket in repair mode still sends what pacing or the device held up; its new owner must know of every byte. */
function silence(fd: number, window: SocketImage['window']): void {
  // An acknowledgement still due goes now: 1 for quick acknowledgements would last, 2 does not.
  setOption(fd, IPPROTO_TCP, TCP_QUICKACK, 2);
  setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, windowWords({ ...readWindow(fd), send: 0, sendMax: window.sendMax }));
}

/** `sendWindow` is the peer's, from before the silence. */
function readFrozen(fd: number, sendWindow: number): Result<SocketImage> {
  const local = endpoint(localAddress(fd));
  const remote = endpoint(remoteAddress(fd));
  if (local.scope !== 0 || remote.scope !== 0) return refuse('link-local: its addresses hold on one link of this host');
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const before = readMarks(fd);
    const largest = Math.max(before.sendBytes, before.receiveBytes);
    if (largest > queueBytesMax) return refuse(`a queue of ${largest} bytes, at most ${queueBytesMax}`);
    const sendBytes = peek(fd, sendQueue, before.sendBytes, segmentBytesMax);
    const receiveBytes = peek(fd, receiveQueue, before.receiveBytes, 0);
    const options = readOptions(fd);
    const after = readMarks(fd);
    if (after.state !== 'ESTABLISHED') return refuse(notWhole(after.state));
    // No call reads it all at once.
    if (!sendBytes || !receiveBytes || JSON.stringify(before) !== JSON.stringify(after)) continue;
    return ok({
      ...{ local: local.address, localPort: local.port, remote: remote.address, remotePort: remote.port },
      ...{ sendSequence: (before.writeSequence - before.sendBytes) >>> 0, sendQueue: sendBytes },
      unsentBytes: before.unsentBytes,
      ...{ receiveSequence: (before.nextSequence - before.receiveBytes) >>> 0, receiveQueue: receiveBytes },
      ...options,
      window: { ...before.window, send: sendWindow },
    });
  }
  return refuse('packets still arrive: it changed while it was read');
}

/** All that changes when packets come or go. */
interface Marks {
  readonly state: string;
  readonly writeSequence: number;
  readonly nextSequence: number;
  readonly sendBytes: number;
  readonly unsentBytes: number;
  readonly receiveBytes: number;
  readonly window: SocketImage['window'];
}

function readMarks(fd: number): Marks {
  const writeSequence = sequenceOf(fd, sendQueue);
  const nextSequence = sequenceOf(fd, receiveQueue);
  selectQueue(fd, noQueue);
  return {
    state: stateOf(fd),
    ...{ writeSequence, nextSequence },
    sendBytes: queued(fd, SIOCOUTQ),
    unsentBytes: queued(fd, SIOCOUTQNSD),
    receiveBytes: queued(fd, SIOCINQ),
    window: readWindow(fd),
  };
}

/** struct tcp_repair_window. */
function readWindow(fd: number): SocketImage['window'] {
  const [sendUpdate = 0, send = 0, sendMax = 0, receive = 0, receiveUpdate = 0] = optionWords(fd, TCP_REPAIR_WINDOW, 5);
  return { sendUpdate, send, sendMax, receive, receiveUpdate };
}

function windowWords({ sendUpdate, send, sendMax, receive, receiveUpdate }: SocketImage['window']): Uint8Array {
  return words([sendUpdate, send, sendMax, receive, receiveUpdate]);
}

function readOptions(
  fd: number,
): Pick<SocketImage, 'mss' | 'sendScale' | 'receiveScale' | 'selectiveAcks' | 'timestamp'> {
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

/** The last `length` bytes of a queue; the kernel may show up to `slack` more before them. Null when it has fewer. */
function peek(fd: number, queue: number, length: number, slack: number): Uint8Array | null {
  if (length === 0) return new Uint8Array(0);
  selectQueue(fd, queue);
  const buffer = new Uint8Array(length + slack);
  const got = receive(fd, buffer, linux.MSG_PEEK | linux.MSG_DONTWAIT) ?? 0;
  // With the send queue chosen, an acknowledgement would make the kernel count unsent bytes as sent.
  selectQueue(fd, noQueue);
  return got < length ? null : buffer.slice(got - length, got);
}

function establish(fd: number, image: SocketImage): void {
  // Sequence numbers can be set before `connect` only.
  setSequence(fd, sendQueue, image.sendSequence);
  setSequence(fd, receiveQueue, image.receiveSequence);
  selectQueue(fd, noQueue);
  // No SO_REUSEADDR: repair mode forces reuse, which it would undo, and a listener on the port would be in the way.
  bind(fd, sockaddr(image.local, image.localPort));
  // Without it `connect` takes the MSS of a peer that named none, and never asks again.
  setOption(fd, IPPROTO_TCP, TCP_MAXSEG, Math.min(Math.max(image.mss, maxsegMin), maxsegMax));
  connect(fd, sockaddr(image.remote, image.remotePort));
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

function fillQueues(fd: number, image: SocketImage): void {
  const sent = image.sendQueue.subarray(0, image.sendQueue.length - image.unsentBytes);
  // The kernel doubles both for its own needs. What the window promised must find room, or the peer's packets are dropped.
  const { sendQueue: queue } = image;
  if (!setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, queue.length + fillBytes)) throw noRoom(queue.length);
  setBuffer(fd, linux.SO_RCVBUFFORCE, linux.SO_RCVBUF, image.receiveQueue.length + image.window.receive + fillBytes);
  selectQueue(fd, receiveQueue);
  writeAll(fd, image.receiveQueue);
  selectQueue(fd, sendQueue);
  writeAll(fd, sent);
  selectQueue(fd, noQueue);
}

function restoreWindow(fd: number, { window, receiveQueue: unread }: SocketImage): void {
  setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, windowWords(window));
  // A new socket announces little until it has seen much: this lets it go on with what was announced already.
  const clamp = Math.min(unread.length + window.receive, 2 ** 30);
  if (clamp > (optionWords(fd, TCP_WINDOW_CLAMP, 1)[0] ?? 0)) setOption(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, clamp);
}

/** Larger than autotuning gives: forced, or within the host's limit where that is not permitted. False where it is too small. */
function setBuffer(fd: number, forced: number, plain: number, bytes: number): boolean {
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

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const taken = sendSome(fd, bytes.subarray(at, at + fillBytes));
    if (taken === null) throw noRoom(bytes.length);
    at += taken;
  }
}

function noRoom(bytes: number): OperatingError {
  return new OperatingError('tcp-repair', `import: a queue of ${bytes} bytes finds no room`, {
    remedy: 'raise net.core.wmem_max and net.core.rmem_max, or run with CAP_NET_ADMIN of the host itself',
  });
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

function stateOf(fd: number): string {
  const info = new Uint8Array(8);
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, info);
  return states[info[0] ?? 0] ?? 'UNKNOWN';
}

function selectQueue(fd: number, queue: number): void {
  setOption(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue);
}

function sequenceOf(fd: number, queue: number): number {
  selectQueue(fd, queue);
  return optionWords(fd, TCP_QUEUE_SEQ, 1)[0] ?? 0;
}

function setSequence(fd: number, queue: number, sequence: number): void {
  selectQueue(fd, queue);
  setOption(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, sequence);
}

function queued(fd: number, request: number): number {
  const argument = new Uint8Array(4);
  ioctl(fd, request, argument);
  return new DataView(argument.buffer).getInt32(0, true);
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

/** struct sockaddr_in or sockaddr_in6. */
function sockaddr(address: IpAddress, port: number): Uint8Array {
  const bytes = new Uint8Array(address.family === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, address.family === 4 ? linux.AF_INET : linux.AF_INET6, true);
  view.setUint16(2, port);
  bytes.set(ipBytes(address), address.family === 4 ? 4 : 8);
  return bytes;
}

/** A server that listens on "::" holds its IPv4 connections in IPv6 sockets, with mapped addresses (RFC 4291, section 2.5.5.2). */
function endpoint(bytes: Uint8Array): { address: IpAddress; port: number; scope: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const port = view.getUint16(2);
  if (view.getUint16(0, true) === linux.AF_INET) return { address: ipFromBytes(bytes.slice(4, 8)), port, scope: 0 };
  const address = ipFromBytes(bytes.slice(8, 24));
  return address.value >> 32n === 0xffffn
    ? { address: { family: 4, value: address.value & 0xffffffffn }, port, scope: 0 }
    : { address, port, scope: view.getUint32(24, true) };
}
