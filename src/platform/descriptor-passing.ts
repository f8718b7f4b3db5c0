import { setTimeout as delay } from 'node:timers/promises';
import koffi from 'koffi';
import { type IpAddress, ipFromBytes } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import { close, linux, setsockopt, socket } from './libc.ts';

/**
 * Descriptors between processes over a Unix socket (SCM_RIGHTS of unix(7)), which Node cannot do itself. Each travels with a number of 8 bytes,
 * by which a message on another connection names it. Nothing here ever blocks.
 */
export interface DescriptorChannel {
  /**
   * Gives the other side a duplicate, and resolves to its number once it can be taken there. The descriptor may be closed as soon as this
   * returns. Rejects with an OperatingError when the other side is gone, or takes none for a second.
   */
  pass(descriptor: number): Promise<number>;
  /**
   * The descriptor of that number, close-on-exec and the caller's to close. Throws an OperatingError when it is not there, or something else
   * was sent: the channel is of no use then.
   */
  take(number: number): number;
  /** Closes also what was passed here and not taken. */
  close(): void;
}

/** Descriptors that are here and whose number was not named yet. */
const untakenMax = 256;
/** The other side takes descriptors as it reads its messages: whoever takes none for so long has stopped doing so. */
const passMs = 1000;
const retryMs = 2;

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 8;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const F_DUPFD_CLOEXEC = 1030;
const SO_TYPE = 3;
const SO_PROTOCOL = 38;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const TCP_REPAIR = 19;
const TCP_NOTSENT_LOWAT = 25;
/** A millisecond at 10 Gbit/s. */
const unsentBytes = 128 * 1024;
const AF_INET6 = 10;
const ETOOMANYREFS = 109;

const numberBytes = 8;
/** CMSG_LEN of one descriptor: the kernel closes any further one by itself, and says so by MSG_CTRUNC. */
const controlBytes = 20;
/** sun_path of unix(7), its final zero included. */
const pathBytesMax = 108;

const library = koffi.load('libc.so.6');
const vector = koffi.struct({ base: 'void *', length: 'size_t' });
const header = koffi.struct({
  name: 'void *',
  nameLength: 'uint32_t',
  vectors: koffi.pointer(vector),
  vectorCount: 'size_t',
  control: 'void *',
  controlLength: 'size_t',
  flags: 'int',
});
const sendmsgCall = library.func('sendmsg', 'long', ['int', koffi.pointer(header), 'int']);
const recvmsgCall = library.func('recvmsg', 'long', ['int', koffi.inout(koffi.pointer(header)), 'int']);
const connectCall = library.func('int connect(int fd, void *address, unsigned int length)');
const fcntlCall = library.func('int fcntl(int fd, int command, int argument)');
const getsocknameCall = library.func('int getsockname(int fd, void *address, void *length)');
const getpeernameCall = library.func('int getpeername(int fd, void *address, void *length)');
const getsockoptCall = library.func('int getsockopt(int fd, int level, int name, void *value, void *length)');

/** Takes over `channel`, the descriptor of a connected Unix stream socket that nobody else reads or writes. */
export function descriptorChannel(channel: number): DescriptorChannel {
  const untaken = new Map<number, number>();
  let passed = 0;
  let open = true;

  /** While the channel is full the caller may close what it passes, and its number may come to mean another file. */
  async function passLater(number: number, descriptor: number): Promise<number> {
    const copy = duplicate(descriptor);
    try {
      for (let waitedMs = 0; waitedMs < passMs; waitedMs += retryMs) {
        await delay(retryMs);
        if (!open) throw gone('pass');
        if (sendDescriptor(channel, number, copy)) return number;
      }
      throw new OperatingError('descriptor', `the other side took no descriptor for ${passMs} ms`);
    } finally {
      close(copy);
    }
  }

  return {
    async pass(descriptor) {
      if (!open) throw gone('pass');
      const number = ++passed;
      return sendDescriptor(channel, number, descriptor) ? number : passLater(number, descriptor);
    },
    take(number) {
      if (!open) throw gone('take');
      for (let next = untaken.get(number); ; next = untaken.get(number)) {
        untaken.delete(number);
        if (next !== undefined) return next;
        const received = untaken.size < untakenMax ? receiveDescriptor(channel) : null;
        if (!received) throw new OperatingError('descriptor', `no descriptor ${number} was passed`);
        const double = untaken.get(received.number);
        if (double !== undefined) close(double);
        untaken.set(received.number, received.descriptor);
      }
    },
    close() {
      if (open) close(channel);
      open = false;
      for (const descriptor of untaken.values()) close(descriptor);
      untaken.clear();
    },
  };
}

/** A connection to the Unix socket at `path` that has sent `greeting`. Throws an OperatingError when nobody takes it at once. */
export function connectDescriptorChannel(path: string, greeting: Uint8Array): DescriptorChannel {
  const name = new TextEncoder().encode(path);
  if (name.length >= pathBytesMax)
    throw new OperatingError('socket', `the path of a Unix socket is shorter than ${pathBytesMax} bytes`);
  const address = new Uint8Array(2 + name.length + 1);
  address[0] = AF_UNIX;
  address.set(name, 2);
  const descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  try {
    if (connectCall(descriptor, address, address.length) < 0) throw failed('connect');
    const message = messageOf(greeting, null);
    if (Number(sendmsgCall(descriptor, message, linux.MSG_DONTWAIT | MSG_NOSIGNAL)) !== greeting.length)
      throw failed('sendmsg');
    return descriptorChannel(descriptor);
  } catch (error) {
    close(descriptor);
    throw error;
  }
}

/** Another name of the same open file, close-on-exec and the caller's to close. */
export function duplicate(descriptor: number): number {
  const copy: number = fcntlCall(descriptor, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) throw failed('fcntl');
  return copy;
}

/** The ends of a TCP connection; an IPv4 connection of an IPv6 socket has its IPv4 addresses (RFC 4291, section 2.5.5.2). */
export interface TcpEnds {
  readonly client: IpAddress;
  readonly clientPort: number;
  readonly service: IpAddress;
  readonly servicePort: number;
}

/** Null of a descriptor that is no connected TCP socket. */
export function tcpEndsOf(descriptor: number): TcpEnds | null {
  if (option(descriptor, linux.SOL_SOCKET, SO_TYPE) !== SOCK_STREAM) return null;
  if (option(descriptor, linux.SOL_SOCKET, SO_PROTOCOL) !== IPPROTO_TCP) return null;
  const peer = endOf(getpeernameCall, descriptor);
  const own = endOf(getsocknameCall, descriptor);
  if (!peer || !own) return null;
  return { client: peer.address, clientPort: peer.port, service: own.address, servicePort: own.port };
}

/** Whether neither side of a TCP connection has closed its direction. */
export function isEstablished(descriptor: number): boolean {
  // The first byte of struct tcp_info is the state, 1 is TCP_ESTABLISHED.
  const info = new Uint8Array(1);
  return getsockoptCall(descriptor, IPPROTO_TCP, TCP_INFO, info, integer(1)) === 0 && info[0] === 1;
}

/** Whether a socket is in repair mode, in which it neither reads nor writes, and closes without a word. Asking needs no privilege. */
export function isInRepair(descriptor: number): boolean {
  return option(descriptor, IPPROTO_TCP, TCP_REPAIR) === 1;
}

/**
 * Has the kernel take little more of what is written than it can send (TCP_NOTSENT_LOWAT of tcp(7)), of a connection or of all that a listener accepts from now on:
 * what waits elsewhere need not be moved. Nothing happens to what is no TCP socket.
 */
export function keepUnsentShort(descriptor: number): void {
  const value = new Uint8Array(new Uint32Array([unsentBytes]).buffer);
  try {
    if (descriptor >= 0) setsockopt(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, value);
  } catch {
    // It is slower to move, and that is all.
  }
}

/** False when the other side must first take some of those under way. */
function sendDescriptor(channel: number, number: number, passed: number): boolean {
  const bytes = new Uint8Array(numberBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  const control = new Uint8Array(24);
  const view = new DataView(control.buffer);
  view.setBigUint64(0, BigInt(controlBytes), true);
  view.setInt32(8, linux.SOL_SOCKET, true);
  view.setInt32(12, SCM_RIGHTS, true);
  view.setInt32(16, passed, true);
  for (;;) {
    if (Number(sendmsgCall(channel, messageOf(bytes, control), linux.MSG_DONTWAIT | MSG_NOSIGNAL)) === numberBytes)
      return true;
    const errno = koffi.errno();
    // The kernel also bounds how many descriptors one user has under way (unix(7)).
    if (errno === linux.EAGAIN || errno === ETOOMANYREFS) return false;
    if (errno !== linux.EINTR) throw failed('sendmsg');
  }
}

/** Null when none is under way. */
function receiveDescriptor(channel: number): { number: number; descriptor: number } | null {
  const bytes = new Uint8Array(numberBytes);
  const control = new Uint8Array(24);
  const message = messageOf(bytes, control);
  for (;;) {
    const length = Number(recvmsgCall(channel, message, linux.MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    if (length < 0) {
      const errno = koffi.errno();
      if (errno === linux.EAGAIN) return null;
      if (errno === linux.EINTR) continue;
      throw failed('recvmsg');
    }
    const view = new DataView(control.buffer);
    const passed =
      message.controlLength >= controlBytes &&
      view.getInt32(8, true) === linux.SOL_SOCKET &&
      view.getInt32(12, true) === SCM_RIGHTS;
    const descriptor = passed ? view.getInt32(16, true) : null;
    if (descriptor !== null && length === numberBytes && !(message.flags & MSG_CTRUNC)) {
      return { number: Number(new DataView(bytes.buffer).getBigUint64(0)), descriptor };
    }
    if (descriptor !== null) close(descriptor);
    if (length === 0) throw gone('take');
    throw new OperatingError('descriptor', 'something else than one descriptor with its number was sent');
  }
}

function messageOf(bytes: Uint8Array, control: Uint8Array | null) {
  return {
    name: null,
    nameLength: 0,
    vectors: [{ base: bytes, length: bytes.length }],
    vectorCount: 1,
    control,
    controlLength: control ? controlBytes : 0,
    flags: 0,
  };
}

type NameCall = typeof getpeernameCall;

function endOf(call: NameCall, descriptor: number): { address: IpAddress; port: number } | null {
  const name = new Uint8Array(28);
  if (call(descriptor, name, integer(name.length)) < 0) return null;
  const view = new DataView(name.buffer);
  const family = view.getUint16(0, true);
  const port = view.getUint16(2);
  if (family === linux.AF_INET) return { address: ipFromBytes(name.slice(4, 8)), port };
  if (family !== AF_INET6) return null;
  const address = ipFromBytes(name.slice(8, 24));
  return { address: address.value >> 32n === 0xffffn ? ipFromBytes(name.slice(20, 24)) : address, port };
}

function option(descriptor: number, level: number, name: number): number | null {
  const value = new Uint8Array(4);
  if (getsockoptCall(descriptor, level, name, value, integer(4)) < 0) return null;
  return new DataView(value.buffer).getInt32(0, true);
}

function integer(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}

function gone(call: string): OperatingError {
  return new OperatingError('descriptor', `${call}: the other side of the descriptor channel is gone`);
}

function failed(call: string): OperatingError {
  const errno = koffi.errno();
  const name = Object.entries(koffi.os.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
  return new OperatingError('descriptor', `${call} failed: ${name}`);
}
