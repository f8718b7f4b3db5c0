import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { OperatingError } from '../base/operating-error.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { nextReceived, queueBytesMax, type SocketImage } from '../handoff/socket-image.ts';
import {
  bind,
  close,
  connect,
  duplicate,
  errnoOf,
  linux,
  localAddress,
  receive,
  remoteAddress,
  sendSome,
  setsockopt,
  socket,
} from './libc.ts';
import {
  allowAddressReuse,
  deafen,
  endpoint,
  enlargeBuffer,
  enterRepair,
  flushAcknowledgement,
  hearAgain,
  leaveRepair,
  limitSegments,
  noQueue,
  queued,
  raiseWindowClamp,
  readOptions,
  readWindow,
  receiveQueue,
  restoreOptions,
  SIOCINQ,
  SIOCOUTQ,
  SIOCOUTQNSD,
  selectQueue,
  sendQueue,
  sequenceOf,
  setSequence,
  sockaddr,
  stateOf,
  unlockBuffers,
  writeWindow,
} from './repair-options.ts';

/** Numbers of <linux/tcp.h>. */
const IPPROTO_TCP = 6;
const TCP_NOTSENT_LOWAT = 25;
/** Values of TCP_NOTSENT_LOWAT: as the host has it (net.ipv4.tcp_notsent_lowat), and without a bound. */
const hostUnsent = 0;
const unlimitedUnsent = 0xffff_ffff;

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
 * Freezes a TCP connection, deaf to all packets from then on, and reads it as a value. `descriptor` is in repair mode until `thaw` or `closeSilently`. The kernel
 * refuses Node's reads and writes meanwhile, which it would call errors of the socket: end it, or thaw, in the same turn. A refusal or a throw leaves the
 * connection as it was.
 *
 * A packet that the kernel had begun to handle may still arrive: `isUnchanged` says later whether one did.
 *
 * Refused: another state than ESTABLISHED (repair has no way to give a new socket an end that was seen or sent), a queue larger than
 * an image holds, a link-local peer, a connection that changed while it was read. What arrived out of order is left out: the peer
 * sends it again. Throws an OperatingError without CAP_NET_ADMIN.
 */
export function exportSocket(descriptor: number): Result<SocketImage> {
  const before = stateOf(descriptor);
  if (before !== 'ESTABLISHED') return refuse(notWhole(before));
  // Before it is deaf: what its client says meanwhile would be lost on the way, and cost it a time-out.
  const queues = Math.max(queued(descriptor, SIOCINQ), queued(descriptor, SIOCOUTQ));
  if (queues > queueBytesMax) return refuse(tooLong(queues));
  enterRepair(descriptor);
  let undo = (): void => leave(descriptor);
  try {
    // After that: should this process die in between, the application finds the connection in repair mode, and not deaf.
    deafen(descriptor);
    undo = () => {
      hearAgain(descriptor);
      leave(descriptor);
    };
    const { send } = readWindow(descriptor);
    undo = () => goOn(descriptor, send);
    const unsentBytes = silence(descriptor);
    const frozen = readFrozen(descriptor, { send, unsentBytes });
    if (frozen.ok) undo = () => {};
    return frozen;
  } finally {
    undo();
  }
}

/** Whether a connection is still what was exported as `image`: nothing came that was accepted, or confirmed what was sent. */
export function isUnchanged(descriptor: number, image: SocketImage): boolean {
  const arrived = sequenceOf(descriptor, receiveQueue);
  selectQueue(descriptor, noQueue);
  return (
    arrived === nextReceived(image) &&
    queued(descriptor, SIOCOUTQ) === image.sendQueue.length &&
    stateOf(descriptor) === 'ESTABLISHED'
  );
}

/** Leaves repair mode with a window probe: the connection that was exported as `image` goes on as before. */
export function thaw(descriptor: number, { window }: Pick<SocketImage, 'window'>): void {
  goOn(descriptor, window.send);
}

/** With the window that the peer had allowed: of answers to window probes it may withhold all but one in half a second (tcp_invalid_ratelimit). */
function goOn(descriptor: number, send: number): void {
  const { sendMax, ...window } = readWindow(descriptor);
  writeWindow(descriptor, { ...window, send, sendMax: Math.max(sendMax, send) });
  hearAgain(descriptor);
  leave(descriptor);
}

function leave(descriptor: number): void {
  leaveRepair(descriptor);
  // Repair mode forced address reuse, and leaving it forbids it: a server that restarts could not bind.
  allowAddressReuse(descriptor);
}

/** Ends the connection here without a packet, for all duplicates of `descriptor`, which is closed: the kernel spares the reset in repair mode. */
export function closeSilently(descriptor: number): void {
  disconnect(descriptor, enterRepair);
}

/** Ends the connection with a reset, in repair mode or not, for all duplicates of `descriptor`, which is closed. */
export function reset(descriptor: number): void {
  disconnect(descriptor, leave);
}

function disconnect(descriptor: number, setMode: (descriptor: number) => void): void {
  try {
    setMode(descriptor);
    // It ends for other holders of the socket too, which closing would not do.
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
  const fd = socket(family, linux.SOCK_STREAM | linux.SOCK_NONBLOCK, 0);
  try {
    enterRepair(fd);
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
 * never sent is sent. `descriptor` may be given to `new net.Socket({ fd })` from then on. When this throws, the peer may miss a part: `reset` is next.
 */
export function goLive(descriptor: number, image: SocketImage): void {
  leave(descriptor);
  const { sendQueue: queue, unsentBytes } = image;
  // Whoever writes in repair mode marks the bytes as sent, and the peer would wait for a time-out to see them.
  writeAll(descriptor, queue.subarray(queue.length - unsentBytes));
  limitUnsent(descriptor, hostUnsent);
  // The buffers may grow and shrink by themselves again (SO_BUF_LOCK, socket(7)).
  unlockBuffers(descriptor);
}

function notWhole(state: string): string {
  const halfClosed = ['FIN_WAIT1', 'FIN_WAIT2', 'CLOSE_WAIT', 'LAST_ACK', 'CLOSING'].includes(state);
  return halfClosed ? `half-closed (${state}): its end of stream cannot be moved` : `not established (${state})`;
}

function tooLong(bytes: number): string {
  return `a queue of ${bytes} bytes, at most ${queueBytesMax}`;
}

/** A socket in repair mode still sends what pacing or the device held up. From now on nothing new: returns how much that is. */
function silence(fd: number): number {
  flushAcknowledgement(fd);
  writeWindow(fd, { ...readWindow(fd), send: 0 });
  return queued(fd, SIOCOUTQNSD);
}

/** `known` is from before a send queue was chosen: while it is, a timer may make the kernel count all its bytes as sent. */
function readFrozen(fd: number, known: { readonly send: number; readonly unsentBytes: number }): Result<SocketImage> {
  const local = endpoint(localAddress(fd));
  const remote = endpoint(remoteAddress(fd));
  if (local.scope !== 0 || remote.scope !== 0) return refuse('link-local: its addresses hold on one link of this host');
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const before = readMarks(fd);
    const largest = Math.max(before.sendBytes, before.receiveBytes);
    if (largest > queueBytesMax) return refuse(tooLong(largest));
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
      unsentBytes: known.unsentBytes,
      ...{ receiveSequence: (before.nextSequence - before.receiveBytes) >>> 0, receiveQueue: receiveBytes },
      ...options,
      window: { ...before.window, send: known.send },
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
    receiveBytes: queued(fd, SIOCINQ),
    window: readWindow(fd),
  };
}

/** The last `length` bytes of a queue; the kernel may show up to `slack` more before them. Null when it has fewer. */
function peek(fd: number, queue: number, length: number, slack: number): Uint8Array | null {
  if (length === 0) return new Uint8Array(0);
  selectQueue(fd, queue);
  const buffer = new Uint8Array(length + slack);
  const got = receive(fd, buffer, linux.MSG_PEEK | linux.MSG_DONTWAIT) ?? 0;
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
  limitSegments(fd, image.mss);
  connect(fd, sockaddr(image.remote, image.remotePort));
  restoreOptions(fd, image);
}

function fillQueues(fd: number, image: SocketImage): void {
  const sent = image.sendQueue.subarray(0, image.sendQueue.length - image.unsentBytes);
  // The kernel doubles both for its own needs. What the window promised must find room, or the peer's packets are dropped.
  const { sendQueue: queue } = image;
  if (!enlargeBuffer(fd, 'send', queue.length + fillBytes)) throw noRoom(queue.length);
  // Nobody would write what the kernel does not take at once.
  limitUnsent(fd, unlimitedUnsent);
  enlargeBuffer(fd, 'receive', receiveBytes(image.receiveQueue.length + image.window.receive + fillBytes));
  selectQueue(fd, receiveQueue);
  writeAll(fd, image.receiveQueue);
  selectQueue(fd, sendQueue);
  writeAll(fd, sent);
  selectQueue(fd, noQueue);
}

/**
 * A socket that has received much makes larger windows of a buffer than a new one (tcp_scaling_ratio), so that windows grew with every move: no more than the kernel
 * gives by itself (tcp_rmem) is asked for, where that holds what was promised.
 */
function receiveBytes(promised: number): number {
  const [, , largest = 0] = readFileSync('/proc/sys/net/ipv4/tcp_rmem', 'latin1').trim().split(/\s+/).map(Number);
  return Math.max(Math.ceil(promised / 2), Math.min(promised, Math.floor(largest / 2)));
}

function restoreWindow(fd: number, { window, receiveQueue: unread }: SocketImage): void {
  writeWindow(fd, window);
  // A new socket announces little until it has seen much: this lets it go on with what was announced already.
  raiseWindowClamp(fd, unread.length + window.receive);
}

function limitUnsent(fd: number, bytes: number): void {
  setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, new Uint8Array(Uint32Array.of(bytes).buffer));
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
