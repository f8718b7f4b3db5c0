import { networkInterfaces } from 'node:os';
import { type MacAddress, macFromBytes } from '../base/mac.ts';
import { OperatingError } from '../base/operating-error.ts';
import type { LinkSocket } from '../ports/link-socket.ts';
import { bind, close, deviceAddresses, errnoOf, ioctl, linux, receive, send, socket } from './libc.ts';
import { readable } from './readable.ts';

/** The largest frame read: what this project reads from a link (ARP) is far shorter. */
const frameBytesMax = 2048;
/** Frames read before the event loop gets its turn. */
const framesPerTurn = 64;
/** IFNAMSIZ without the final zero. */
const nameBytesMax = 15;

export function interfaceIndex(device: string): number {
  return new DataView(askInterface(device, linux.SIOCGIFINDEX).buffer).getInt32(0, true);
}

export function interfaceMac(device: string): MacAddress {
  // A struct sockaddr: the family, then the address.
  return macFromBytes(askInterface(device, linux.SIOCGIFHWADDR).slice(2, 8));
}

/** The first IPv4 address of a device, as text. */
export function interfaceAddress(device: string): string | undefined {
  return networkInterfaces()[device]?.find((each) => each.family === 'IPv4')?.address;
}

/** Also of a device that is down, or has no carrier. */
export function hasAddress(device: string, address: string): boolean {
  return (
    deviceAddresses()
      .get(device)
      ?.some((each) => each.startsWith(`${address}/`)) ?? false
  );
}

/**
 * Ethernet frames of one EtherType on one device, by AF_PACKET (packet(7)). Needs CAP_NET_RAW.
 * Frames that arrive faster than they are read stay in the socket's own bounded queue and are dropped by the kernel.
 */
export function openPacketSocket(device: string, etherType: number, onFrame: (frame: Uint8Array) => void): LinkSocket {
  const address = linkAddress(interfaceIndex(device), etherType);
  const mac = interfaceMac(device);
  const fd = socket(linux.AF_PACKET, linux.SOCK_RAW | linux.SOCK_NONBLOCK, networkOrder(etherType));
  try {
    bind(fd, address);
  } catch (error) {
    close(fd);
    throw error;
  }
  const incoming = readable(fd);
  void read();

  async function read(): Promise<void> {
    const buffer = new Uint8Array(frameBytesMax);
    while (await incoming.wait()) {
      for (let i = 0; i < framesPerTurn; i++) {
        const length = receive(fd, buffer, linux.MSG_DONTWAIT);
        if (length === null) break;
        onFrame(buffer.slice(0, length));
      }
    }
  }

  return {
    mac,
    send(frame: Uint8Array): void {
      try {
        send(fd, frame, address);
      } catch (error) {
        if (errnoOf(error) === null) throw error;
      }
    },
    close: () => incoming.close(),
  };
}

/** struct sockaddr_ll of packet(7). */
export function linkAddress(index: number, etherType: number): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, linux.AF_PACKET, true);
  view.setUint16(2, etherType);
  view.setInt32(4, index, true);
  return bytes;
}

export function networkOrder(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8);
}

/** What follows the name in the answered struct ifreq of netdevice(7); asked of this network namespace, as /sys may not be. */
function askInterface(device: string, request: number): Uint8Array<ArrayBuffer> {
  const argument = new Uint8Array(40);
  argument.set(new TextEncoder().encode(device).subarray(0, nameBytesMax));
  const fd = socket(linux.AF_INET, linux.SOCK_DGRAM, 0);
  try {
    ioctl(fd, request, argument);
    return argument.slice(nameBytesMax + 1);
  } catch (cause) {
    throw new OperatingError('interface', `interface: "${device}" is not an interface of this host`, { cause });
  } finally {
    close(fd);
  }
}
