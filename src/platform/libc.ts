import koffi from 'koffi';
import { OperatingError } from '../base/operating-error.ts';

const library = koffi.load('libc.so.6');

/** The numbers of <sys/socket.h>, <poll.h>, <errno.h> and their like on Linux that this project uses. */
export const linux = {
  AF_UNSPEC: 0,
  AF_INET: 2,
  AF_INET6: 10,
  AF_PACKET: 17,
  AF_NETLINK: 16,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOCK_RAW: 3,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  O_RDWR: 2,
  O_NONBLOCK: 0o4000,
  O_CLOEXEC: 0o2000000,
  F_DUPFD_CLOEXEC: 1030,
  SOL_SOCKET: 1,
  SOL_PACKET: 263,
  IPPROTO_IP: 0,
  IP_HDRINCL: 3,
  IP_MULTICAST_LOOP: 34,
  IP_ADD_MEMBERSHIP: 35,
  PACKET_STATISTICS: 6,
  PACKET_IGNORE_OUTGOING: 23,
  SO_RCVBUF: 8,
  SO_BINDTODEVICE: 25,
  SO_RCVBUFFORCE: 33,
  /** With a timeval of 64-bit fields. */
  SIOCGSTAMP_OLD: 0x8906,
  SIOCGIFHWADDR: 0x8927,
  SIOCGIFINDEX: 0x8933,
  MSG_PEEK: 2,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  POLLIN: 1,
  EFD_CLOEXEC: 0o2000000,
  EFD_NONBLOCK: 0o4000,
  EINTR: 4,
  EAGAIN: 11,
  ENETDOWN: 100,
  SO_ATTACH_FILTER: 26,
  EPOLL_CTL_ADD: 1,
  EPOLLIN: 1,
  EPOLL_CLOEXEC: 0o2000000,
  ENOBUFS: 105,
  CLOCK_BOOTTIME: 7,
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_RESET_ON_FORK: 0x40000000,
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
const connectCall = library.func('int connect(int fd, void *address, unsigned int length)');
const getsocknameCall = library.func('int getsockname(int fd, void *address, void *length)');
const getpeernameCall = library.func('int getpeername(int fd, void *address, void *length)');
const fcntlCall = library.func('int fcntl(int fd, int command, int argument)');
const openCall = library.func('int open(const char *path, int flags)');
const readCall = library.func('long read(int fd, void *bytes, size_t length)');
const setsockoptCall = library.func('int setsockopt(int fd, int level, int name, void *value, unsigned int length)');
const getsockoptCall = library.func('int getsockopt(int fd, int level, int name, void *value, void *length)');
const ioctlCall = library.func('int ioctl(int fd, unsigned long request, void *argument)');
const ioctlNumberCall = library.func('int ioctl(int fd, unsigned long request, unsigned long argument)');
const eventfdCall = library.func('int eventfd(unsigned int value, int flags)');
const writeCall = library.func('long write(int fd, void *bytes, size_t length)');
const pollCall = library.func('int poll(void *descriptors, unsigned long count, int timeout)');
const epollCreateCall = library.func('int epoll_create1(int flags)');
const epollCtlCall = library.func('int epoll_ctl(int epfd, int operation, int fd, void *event)');
const clockGettimeCall = library.func('int clock_gettime(int clock, void *time)');
const schedGetschedulerCall = library.func('int sched_getscheduler(int pid)');
const schedSetschedulerCall = library.func('int sched_setscheduler(int pid, int policy, void *parameters)');
const getifaddrsCall = library.func('int getifaddrs(_Out_ void **list)');
const freeifaddrsCall = library.func('void freeifaddrs(void *list)');
koffi.struct('sock_fprog', { length: 'uint16_t', instructions: 'void *' });
const attachFilterCall = library.func(
  'int setsockopt(int fd, int level, int name, sock_fprog *program, unsigned int length)',
);
/** The beginning of struct ifaddrs of getifaddrs(3). */
const interfaceEntry = koffi.struct('ifaddrs', {
  next: 'void *',
  name: 'const char *',
  flags: 'unsigned int',
  address: 'void *',
  netmask: 'void *',
});

export function socket(domain: number, type: number, protocol: number): number {
  return checked(socketCall(domain, type | linux.SOCK_CLOEXEC, protocol), 'socket');
}

/** `address` is a sockaddr of the socket's family, as bytes. */
export function bind(fd: number, address: Uint8Array): void {
  checked(bindCall(fd, address, address.length), 'bind');
}

/** `address` is a sockaddr, as bytes. */
export function connect(fd: number, address: Uint8Array): void {
  checked(connectCall(fd, address, address.length), 'connect');
}

/** The sockaddr of this end, as bytes. */
export function localAddress(fd: number): Uint8Array {
  return namedBy(getsocknameCall, fd, 'getsockname');
}

/** The sockaddr of the other end, as bytes. */
export function remoteAddress(fd: number): Uint8Array {
  return namedBy(getpeernameCall, fd, 'getpeername');
}

/** Another descriptor of the same open file or socket, closed on exec. */
export function duplicate(fd: number): number {
  return checked(fcntlCall(fd, linux.F_DUPFD_CLOEXEC, 0), 'fcntl');
}

/** Of a file or device that exists. */
export function open(path: string, flags: number): number {
  return checked(openCall(path, flags | linux.O_CLOEXEC), 'open');
}

export function close(fd: number): void {
  closeCall(fd);
}

/** Fills `buffer` and returns how much of it; null when a non-blocking descriptor has nothing. */
export function read(fd: number, buffer: Uint8Array): number | null {
  return unlessBlocked(() => readCall(fd, buffer, buffer.length), 'read');
}

/** How much was written; null when a non-blocking descriptor takes nothing now. */
export function write(fd: number, bytes: Uint8Array): number | null {
  return unlessBlocked(() => writeCall(fd, bytes, bytes.length), 'write');
}

/** How much a stream socket took; null when it takes nothing now. Never blocks. */
export function sendSome(fd: number, bytes: Uint8Array): number | null {
  const flags = linux.MSG_DONTWAIT | linux.MSG_NOSIGNAL;
  return unlessBlocked(() => sendtoCall(fd, bytes, bytes.length, flags, null, 0), 'sendto');
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

/** For a request that takes a number. */
export function ioctlNumber(fd: number, request: number, argument: number): void {
  checked(ioctlNumberCall(fd, request, argument), 'ioctl');
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

/** As `receive` without blocking, of a netlink socket: 'overrun' says once that the kernel had to drop messages (netlink(7)). */
export function receiveNetlink(fd: number, buffer: Uint8Array): number | 'overrun' | null {
  for (;;) {
    const length: number = recvfromCall(fd, buffer, buffer.length, linux.MSG_DONTWAIT, null, null);
    if (length >= 0) return length;
    const errno = koffi.errno();
    if (errno === linux.EAGAIN) return null;
    if (errno === linux.ENOBUFS) return 'overrun';
    if (errno !== linux.EINTR) throw failed('recvfrom', errno);
  }
}

/** One instruction of classic BPF: code, jumps when true and when false, operand. */
export type FilterInstruction = readonly [code: number, jumpTrue: number, jumpFalse: number, operand: number];

/** From now on the kernel queues only those datagrams for `fd` that the program returns a length for. */
export function attachFilter(fd: number, program: readonly FilterInstruction[]): void {
  const instructions = new Uint8Array(program.length * 8);
  const view = new DataView(instructions.buffer);
  for (const [i, [code, jumpTrue, jumpFalse, operand]] of program.entries()) {
    view.setUint16(i * 8, code, true);
    view.setUint8(i * 8 + 2, jumpTrue);
    view.setUint8(i * 8 + 3, jumpFalse);
    view.setUint32(i * 8 + 4, operand, true);
  }
  const value = { length: program.length, instructions };
  checked(
    attachFilterCall(fd, linux.SOL_SOCKET, linux.SO_ATTACH_FILTER, value, koffi.sizeof('sock_fprog')),
    'setsockopt',
  );
}

/** A descriptor that can be read when any of `fds` can: one waiting thread serves them all. */
export function anyReadable(fds: readonly number[]): number {
  const epoll = checked(epollCreateCall(linux.EPOLL_CLOEXEC), 'epoll_create1');
  try {
    // struct epoll_event is packed: 12 bytes.
    const event = Uint8Array.from([linux.EPOLLIN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (const fd of fds) checked(epollCtlCall(epoll, linux.EPOLL_CTL_ADD, fd, event), 'epoll_ctl');
    return epoll;
  } catch (error) {
    closeCall(epoll);
    throw error;
  }
}

const timespec = new BigInt64Array(2);

/** Milliseconds since the machine booted, those that it was suspended included. */
export function bootMilliseconds(): number {
  checked(clockGettimeCall(linux.CLOCK_BOOTTIME, timespec), 'clock_gettime');
  const [seconds = 0n, nanoseconds = 0n] = timespec;
  return Number(seconds) * 1000 + Number(nanoseconds) / 1e6;
}

/** The policy of the calling thread, with SCHED_RESET_ON_FORK. */
export function scheduler(): number {
  return checked(schedGetschedulerCall(0), 'sched_getscheduler');
}

/** Of the calling thread alone. */
export function setScheduler(policy: number, priority: number): void {
  checked(schedSetschedulerCall(0, policy, Uint8Array.from([priority, 0, 0, 0])), 'sched_setscheduler');
}

/** IPv4 addresses with prefix length of every device of this network namespace, also of one that is down, by getifaddrs(3). */
export function deviceAddresses(): Map<string, string[]> {
  const list: [unknown] = [null];
  checked(getifaddrsCall(list), 'getifaddrs');
  const devices = new Map<string, string[]>();
  try {
    for (let at = list[0]; at; ) {
      const entry = koffi.decode(at, interfaceEntry) as InterfaceEntry;
      // An address may be labelled "DEVICE:WORD".
      const device = entry.name.split(':')[0] ?? entry.name;
      const addresses = devices.get(device) ?? [];
      devices.set(device, addresses);
      const cidr = ipv4Cidr(entry);
      if (cidr) addresses.push(cidr);
      at = entry.next;
    }
  } finally {
    freeifaddrsCall(list[0]);
  }
  return devices;
}

interface InterfaceEntry {
  readonly next: unknown;
  readonly name: string;
  readonly address: unknown;
  readonly netmask: unknown;
}

/** Null of an address of another family. */
function ipv4Cidr({ address, netmask }: InterfaceEntry): string | null {
  if (!address || !netmask || koffi.decode(address, 'uint16_t') !== linux.AF_INET) return null;
  const bytesOf = (sockaddr: unknown): number[] => [...koffi.decode(sockaddr, 'uint8_t', 8)].slice(4);
  const prefixLength = bytesOf(netmask).reduce((bits, byte) => bits + byte.toString(2).replaceAll('0', '').length, 0);
  return `${bytesOf(address).join('.')}/${prefixLength}`;
}

/** A counter that can be read once something was written to it, by eventfd(2). */
export function eventfd(): number {
  return checked(eventfdCall(0, linux.EFD_CLOEXEC | linux.EFD_NONBLOCK), 'eventfd');
}

/** Waits on a thread until one of the descriptors (struct pollfd, 8 bytes each) is ready, or so many milliseconds; what each is ready for stands in it then. */
export function poll(descriptors: Uint8Array, msMax: number): Promise<void> {
  return new Promise((resolve, reject) => {
    pollCall.async(descriptors, descriptors.length / 8, msMax, (error: unknown) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

type NameCall = (fd: number, address: Uint8Array, length: Uint8Array) => number;

function namedBy(name: NameCall, fd: number, call: string): Uint8Array {
  // No sockaddr of an IP socket is longer than sockaddr_in6: 28 bytes.
  const address = new Uint8Array(28);
  const length = Uint8Array.from([address.length, 0, 0, 0]);
  checked(name(fd, address, length), call);
  return address.slice(0, length[0]);
}

function unlessBlocked(attempt: () => number, call: string): number | null {
  for (;;) {
    const length = attempt();
    if (length >= 0) return length;
    const errno = koffi.errno();
    if (errno === linux.EAGAIN) return null;
    if (errno !== linux.EINTR) throw failed(call, errno);
  }
}

/** The name of the error, such as "EPERM", with which the kernel refused a call of this file; null of any other error. */
export function errnoOf(error: unknown): string | null {
  const cause = error instanceof OperatingError ? error.cause : null;
  return cause instanceof SystemCallError ? cause.errno : null;
}

/** Why a call failed, for those who tell one reason from another. */
class SystemCallError extends Error {
  readonly errno: string;

  constructor(call: string, errno: string) {
    super(`${call}: ${errno}`);
    this.errno = errno;
  }
}

function checked(returned: number, call: string): number {
  if (returned >= 0) return returned;
  throw failed(call, koffi.errno());
}

function failed(call: string, errno: number): OperatingError {
  const name = Object.entries(koffi.os.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
  return new OperatingError('system-call', `${call} failed: ${name}`, { cause: new SystemCallError(call, name) });
}
