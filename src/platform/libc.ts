import koffi from 'koffi';
import { OperatingError } from '../base/operating-error.ts';

const library = koffi.load('libc.so.6');

/** The numbers of <sys/socket.h>, <poll.h>, <errno.h> and their like on Linux that this project uses. */
export const linux = {
  AF_INET: 2,
  AF_PACKET: 17,
  AF_NETLINK: 16,
  SOCK_DGRAM: 2,
  SOCK_RAW: 3,
  SOCK_CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SOL_PACKET: 263,
  PACKET_STATISTICS: 6,
  SO_RCVBUF: 8,
  SO_RCVBUFFORCE: 33,
  /** With a timeval of 64-bit fields. */
  SIOCGSTAMP_OLD: 0x8906,
  SIOCGIFHWADDR: 0x8927,
  SIOCGIFINDEX: 0x8933,
  MSG_DONTWAIT: 0x40,
  POLLIN: 1,
  EINTR: 4,
  EAGAIN: 11,
  ENETDOWN: 100,
} as const;

const socketCall = library.func('int socket(int domain, int type, int protocol)');
const bindCall = library.func('int bind(int fd, void *address, unsigned int length)');
const closeCall = library.func('int close(int fd)');
const sendtoCall = library.func(
  'long sendto(int fd, void *bytes, size_t length, int flags, void *address, unsigned int addressLength)',
);
const recvfromCall = library.func(
  'long recvfrom(int fd, void *bytes, size_t length, int flags, void *address, void *addressLength)',
);
const setsockoptCall = library.func('int setsockopt(int fd, int level, int name, void *value, unsigned int length)');
const getsockoptCall = library.func('int getsockopt(int fd, int level, int name, void *value, void *length)');
const ioctlCall = library.func('int ioctl(int fd, unsigned long request, void *argument)');
const eventfdCall = library.func('int eventfd(unsigned int value, int flags)');
const writeCall = library.func('long write(int fd, void *bytes, size_t length)');
const pollCall = library.func('int poll(void *descriptors, unsigned long count, int timeout)');

export function socket(domain: number, type: number, protocol: number): number {
  return checked(socketCall(domain, type | linux.SOCK_CLOEXEC, protocol), 'socket');
}

/** `address` is a sockaddr of the socket's family, as bytes. */
export function bind(fd: number, address: Uint8Array): void {
  checked(bindCall(fd, address, address.length), 'bind');
}

export function close(fd: number): void {
  closeCall(fd);
}

export function setsockopt(fd: number, level: number, name: number, value: Uint8Array): void {
  checked(setsockoptCall(fd, level, name, value, value.length), 'setsockopt');
}

/** Fills `value`. */
export function getsockopt(fd: number, level: number, name: number, value: Uint8Array): void {
  checked(getsockoptCall(fd, level, name, value, Uint8Array.from([value.length, 0, 0, 0])), 'getsockopt');
}

/** Reads into or from `argument` in place, as the request says. */
export function ioctl(fd: number, request: number, argument: Uint8Array): void {
  checked(ioctlCall(fd, request, argument), 'ioctl');
}

export function send(fd: number, bytes: Uint8Array, address?: Uint8Array): void {
  checked(sendtoCall(fd, bytes, bytes.length, 0, address ?? null, address?.length ?? 0), 'sendto');
}

/** Fills `buffer` with one datagram and returns its length; null when none is waiting. Blocks unless `flags` has MSG_DONTWAIT. */
export function receive(fd: number, buffer: Uint8Array, flags: number, address?: Uint8Array): number | null {
  const addressLength = address ? Uint8Array.from([address.length, 0, 0, 0]) : null;
  for (;;) {
    const length: number = recvfromCall(fd, buffer, buffer.length, flags, address ?? null, addressLength);
    if (length >= 0) return length;
    const errno = koffi.errno();
    // A packet socket says once that its device went down; it works again when the device does.
    if (errno === linux.EAGAIN || errno === linux.ENETDOWN) return null;
    if (errno !== linux.EINTR) throw failed('recvfrom', errno);
  }
}

/** Waits on a thread, not on the event loop, for datagrams on `fd`: Node cannot poll packet sockets itself. */
export interface Readable {
  /** Resolves true when something can be read, false once closed. */
  wait(): Promise<boolean>;
  /** Ends a pending wait, then closes `fd`. */
  close(): Promise<void>;
}

/** A thread that waits for ever would keep the process from exiting after an uncaught error. */
const waitMsMax = 500;

export function readable(fd: number): Readable {
  const wake = checked(eventfdCall(0, 0), 'eventfd');
  let pending: Promise<boolean> | null = null;
  let open = true;

  async function poll(): Promise<boolean> {
    const descriptors = new Uint8Array(16);
    const view = new DataView(descriptors.buffer);
    for (const [i, each] of [fd, wake].entries()) {
      view.setInt32(i * 8, each, true);
      view.setInt16(i * 8 + 4, linux.POLLIN, true);
    }
    for (let ready = 0; ready === 0 && open; ) ready = await pollOnce(descriptors);
    return open;
  }

  return {
    wait(): Promise<boolean> {
      if (!open) return Promise.resolve(false);
      pending = poll();
      return pending;
    },
    async close(): Promise<void> {
      if (!open) return;
      open = false;
      writeCall(wake, Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0]), 8);
      await pending;
      closeCall(wake);
      closeCall(fd);
    },
  };
}

/** The number of descriptors with something to read, 0 after the longest wait. */
function pollOnce(descriptors: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    pollCall.async(descriptors, 2, waitMsMax, (error: unknown, ready: number) => {
      if (error) reject(error);
      else resolve(ready);
    });
  });
}

function checked(returned: number, call: string): number {
  if (returned >= 0) return returned;
  throw failed(call, koffi.errno());
}

function failed(call: string, errno: number): OperatingError {
  const name = Object.entries(koffi.os.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
  return new OperatingError('system-call', `${call} failed: ${name}`);
}
