import { readFileSync, writeFileSync } from 'node:fs';
import { ipFromBytes } from '../base/address.ts';
import { type MacAddress, macBytes } from '../base/mac.ts';
import { OperatingError } from '../base/operating-error.ts';
import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';
import { close, errnoOf, ioctl, ioctlNumber, linux, open, read, socket, write } from './libc.ts';
import { interfaceMac } from './packet-socket.ts';

/** Numbers of <linux/if_tun.h>, <linux/sockios.h> and <linux/if.h>. */
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN. */
const offloads = 0x0f;
const SIOCSIFFLAGS = 0x8914;
const SIOCSIFADDR = 0x8916;
const SIOCSIFNETMASK = 0x891c;
const SIOCSIFMTU = 0x8922;
const SIOCSIFTXQLEN = 0x8943;
const IFF_UP = 1;
const IPPROTO_TCP = 6;

/** Frames that wait in the kernel at most: of its default, 500, a fast stream fills all in a millisecond. */
const framesMax = 20_000;
/** The largest that a TAP device takes, so that no frame of any link is too large for it. */
const mtu = 65_521;
/** struct virtio_net_hdr. */
const headerBytes = 10;
/** With a VLAN tag, and with segments that the kernel has not divided yet. */
const frameBytesMax = headerBytes + 14 + 4 + 65_536;
/** IFNAMSIZ without the final zero. */
const nameBytesMax = 15;
/** RFC 7600's IPv4 dummy address: of no other host, and on no other device. */
const dummyAddress = [192, 0, 0, 8];

/** A device that keeps the frames forwarded to it until they are let go on. */
export interface PacketHold {
  /** For `fwd to NAME` in a netdev chain. */
  readonly name: string;
  /**
   * Writes back the frames that wait, as if they had been sent to this device, and returns how many: they enter the stack at this device, and have been
   * through it on return. Those of the flows in `kept` go on waiting. At most as many as the device keeps, so that it ends however fast others come. Frames that no longer
   * come here must not overtake those that wait: a timestamp over a millisecond older is dropped (RFC 7323, section 5.2).
   */
  drain(kept?: readonly TcpFlow[]): number;
  /** Frames lost since the device was made, because too many waited or because the kernel did not take them back. */
  dropped(): number;
  /** Takes the device away, and the frames that wait with it. */
  close(): void;
}

/**
 * Makes the TAP device `name` in this network namespace; it lasts as long as this process. What comes out of it for other link addresses than `destinations` is the
 * host's own chatter and is thrown away. Needs CAP_NET_ADMIN and /dev/net/tun.
 */
export function openPacketHold(name: string, destinations: readonly MacAddress[]): PacketHold {
  const fd = openTap(name);
  try {
    configure(name);
    const own = macBytes(interfaceMac(name));
    const expected = destinations.map(macBytes);
    /** Frames of flows that were kept, the oldest first. */
    let waiting: readonly Uint8Array[] = [];
    let refused = 0;
    let isOpen = true;
    return {
      name,
      drain(kept = []): number {
        if (!isOpen) return 0;
        const keys = new Set(kept.map(flowKey));
        const before = waiting;
        const still: Uint8Array[] = [];
        let written = 0;
        const judge = (frame: Uint8Array, isRead: boolean): void => {
          if (keys.size > 0 && keys.has(flowOf(frame))) {
            if (still.length < framesMax) still.push(isRead ? frame.slice() : frame);
            else refused++;
          } else if (writeBack(fd, frame)) written++;
          else refused++;
        };
        for (const frame of before) judge(frame, false);
        readFrames(fd, own, expected, (frame) => judge(frame, true));
        waiting = still;
        return written;
      },
      dropped: () => refused + (isOpen ? dropsOf(name) : 0),
      close(): void {
        if (isOpen) close(fd);
        isOpen = false;
      },
    };
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Reads what the device has, as it is to be written back. The memory of a frame is that of the next. */
function readFrames(
  fd: number,
  own: Uint8Array,
  expected: readonly Uint8Array[],
  onFrame: (frame: Uint8Array) => void,
): void {
  const buffer = new Uint8Array(frameBytesMax);
  for (let i = 0; i < framesMax; i++) {
    const length = read(fd, buffer);
    if (length === null) break;
    const destination = buffer.subarray(headerBytes, headerBytes + own.length);
    if (!expected.some((each) => each.every((byte, at) => destination[at] === byte))) continue;
    // The stack takes a frame to a multicast address for nobody's TCP.
    destination.set(own);
    onFrame(buffer.subarray(0, length));
  }
}

/** False of one that the kernel does not like, which must not keep the others. */
function writeBack(fd: number, frame: Uint8Array): boolean {
  try {
    write(fd, frame);
    return true;
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
    return false;
  }
}

/** As `flowKey` has it; empty of what is no TCP over IPv4 (RFC 791, section 3.1). */
function flowOf(frame: Uint8Array): string {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const typeAt = headerBytes + 12;
  const ip = typeAt + 2;
  if (frame.length < ip + 24 || view.getUint16(typeAt) !== 0x0800 || frame[ip + 9] !== IPPROTO_TCP) return '';
  const ports = ip + ((frame[ip] ?? 0) & 15) * 4;
  if (frame.length < ports + 4) return '';
  const client = ipFromBytes(frame.subarray(ip + 12, ip + 16));
  return flowKey({ client, clientPort: view.getUint16(ports), servicePort: view.getUint16(ports + 2) });
}

function openTap(name: string): number {
  const fd = openTun();
  try {
    const request = interfaceRequest(name);
    // With the header, segments that are not divided yet and checksums that are not computed yet stay so.
    new DataView(request.buffer).setUint16(16, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
    ioctl(fd, TUNSETIFF, request);
    ioctlNumber(fd, TUNSETOFFLOAD, offloads);
    return fd;
  } catch (cause) {
    close(fd);
    throw refusal(name, cause);
  }
}

function openTun(): number {
  try {
    return open('/dev/net/tun', linux.O_RDWR | linux.O_NONBLOCK);
  } catch (cause) {
    const missing = ['ENOENT', 'ENODEV', 'ENXIO'].includes(errnoOf(cause) ?? '');
    const message = missing ? 'this host has no /dev/net/tun' : 'this process may not open /dev/net/tun';
    const remedy = missing ? 'load the module "tun", or give the container the device' : 'run it as root';
    throw new OperatingError('packet-hold', `packet hold: ${message}`, { remedy, cause });
  }
}

function refusal(name: string, cause: unknown): OperatingError {
  const errno = errnoOf(cause);
  if (cause instanceof OperatingError && errno === null) return cause;
  const says = (message: string, remedy: string) =>
    new OperatingError('packet-hold', `packet hold: ${message}`, { remedy, cause });
  if (errno === 'EBUSY') return says(`"${name}" exists already`, `is another agent running? Else: ip link del ${name}`);
  if (errno === 'EPERM') return says('this process may not make devices', 'it needs CAP_NET_ADMIN');
  return says(
    `"${name}" cannot be made: ${cause instanceof Error ? cause.message : cause}`,
    'is the name one of a device?',
  );
}

function configure(name: string): void {
  const fd = socket(linux.AF_INET, linux.SOCK_DGRAM, 0);
  try {
    const number = (value: number) => Uint8Array.from([value & 255, (value >> 8) & 255, (value >> 16) & 255, 0]);
    ioctl(fd, SIOCSIFTXQLEN, interfaceRequest(name, number(framesMax)));
    ioctl(fd, SIOCSIFMTU, interfaceRequest(name, number(mtu)));
    acceptEverySource(fd, name);
    // Without an address of its own the host says nothing there that would come back to it.
    setSysctl(`ipv6/conf/${name}/addr_gen_mode`, '1');
    setSysctl(`ipv6/conf/${name}/accept_ra`, '0');
    ioctl(fd, SIOCSIFFLAGS, interfaceRequest(name, number(IFF_UP)));
  } finally {
    close(fd);
  }
}

/** No route leads to the sources of the frames through this device, so a strict reverse-path check would drop them all (RFC 3704). */
function acceptEverySource(fd: number, name: string): void {
  if (readSysctl('ipv4/conf/all/rp_filter') === '0') {
    setSysctl(`ipv4/conf/${name}/rp_filter`, '0');
    return;
  }
  // The larger of the two values counts. A loose check takes what has a route anywhere, on a device that has an address.
  setSysctl(`ipv4/conf/${name}/rp_filter`, '2');
  ioctl(fd, SIOCSIFADDR, interfaceRequest(name, Uint8Array.from([linux.AF_INET, 0, 0, 0, ...dummyAddress])));
  ioctl(fd, SIOCSIFNETMASK, interfaceRequest(name, Uint8Array.from([linux.AF_INET, 0, 0, 0, 255, 255, 255, 255])));
}

/** struct ifreq of netdevice(7). */
function interfaceRequest(name: string, value: Uint8Array = new Uint8Array(0)): Uint8Array {
  const request = new Uint8Array(40);
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length > nameBytesMax) {
    throw new OperatingError('packet-hold', `packet hold: "${name}" is no name of 1 to ${nameBytesMax} bytes`);
  }
  request.set(bytes);
  request.set(value, nameBytesMax + 1);
  return request;
}

function readSysctl(path: string): string {
  return readFileSync(`/proc/sys/net/${path}`, 'latin1').trim();
}

function setSysctl(path: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/net/${path}`, value);
  } catch (cause) {
    // A host without IPv6 has nothing to set.
    if (path.startsWith('ipv6/') && cause instanceof Error && Reflect.get(cause, 'code') === 'ENOENT') return;
    throw new OperatingError('packet-hold', `packet hold: net/${path} cannot be set`, {
      remedy: 'mount /proc/sys writable',
      cause,
    });
  }
}

/** What the device refused to queue: the twelfth number of its line. */
function dropsOf(name: string): number {
  const lines = readFileSync('/proc/self/net/dev', 'latin1').split('\n');
  const line = lines.map((each) => each.trim()).find((each) => each.startsWith(`${name}:`)) ?? '';
  return Number(
    line
      .slice(name.length + 1)
      .trim()
      .split(/\s+/)[11] ?? 0,
  );
}
