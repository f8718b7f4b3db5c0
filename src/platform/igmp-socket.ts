import { type IpAddress, ipBytes } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { igmpProtocol, packetBytesMax } from '../wire/igmp-packet.ts';
import { close, errnoOf, linux, receive, send, setsockopt, socket } from './libc.ts';
import { interfaceIndex } from './packet-socket.ts';
import { readable } from './readable.ts';

/** Packets read before the event loop gets its turn. */
const packetsPerTurn = 256;
/** What waits in the kernel at most, with its own overhead: more is dropped there. */
const queueBytes = 1024 * 1024;

/** IGMP of one device, packets with their IPv4 headers (raw(7)). */
export interface IgmpSocket {
  /** A packet of `encodeIgmpPacket`. What the host cannot send now, or its rules drop, is lost as packets are. */
  send(packet: Uint8Array): void;
  close(): Promise<void>;
}

/**
 * Receives what is sent on `device` to groups that the host has joined there; `listen` joins some for as long as the socket is open. Routers listen to
 * 224.0.0.22, where reports of version 3 go (RFC 3376, section 4.2.14); members need not: queries come to 224.0.0.1, of which every host is, and to their group.
 * Own packets do not come back. Needs CAP_NET_RAW.
 */
export function openIgmpSocket(
  device: string,
  { listen = [] }: { readonly listen?: readonly IpAddress[] },
  handlers: { readonly onPacket: (packet: Uint8Array) => void; readonly onFailure: (error: unknown) => void },
): IgmpSocket {
  const index = interfaceIndex(device);
  const fd = socket(linux.AF_INET, linux.SOCK_RAW | linux.SOCK_NONBLOCK, igmpProtocol);
  try {
    setsockopt(fd, linux.SOL_SOCKET, linux.SO_BINDTODEVICE, new TextEncoder().encode(`${device}\0`));
    setsockopt(fd, linux.SOL_SOCKET, linux.SO_RCVBUF, int(queueBytes));
    setsockopt(fd, linux.IPPROTO_IP, linux.IP_HDRINCL, int(1));
    setsockopt(fd, linux.IPPROTO_IP, linux.IP_MULTICAST_LOOP, int(0));
    for (const group of listen) setsockopt(fd, linux.IPPROTO_IP, linux.IP_ADD_MEMBERSHIP, membership(group, index));
  } catch (error) {
    close(fd);
    throw error;
  }
  const incoming = readable(fd);
  const reading = read().catch(handlers.onFailure);

  async function read(): Promise<void> {
    // One byte more than is allowed, so that what is longer is not taken for whole.
    const buffer = new Uint8Array(packetBytesMax + 1);
    while (await incoming.wait()) {
      for (let i = 0; i < packetsPerTurn; i++) {
        const length = receive(fd, buffer, linux.MSG_DONTWAIT);
        if (length === null) break;
        handlers.onPacket(buffer.slice(0, length));
      }
    }
  }

  return {
    send(packet: Uint8Array): void {
      // struct sockaddr_in: the packet's own destination.
      const address = Uint8Array.from([linux.AF_INET, 0, 0, 0, ...packet.slice(16, 20), ...new Uint8Array(8)]);
      try {
        send(fd, packet, address);
      } catch (error) {
        if (errnoOf(error) === null) throw error;
      }
    },
    async close(): Promise<void> {
      await incoming.close();
      await reading;
    },
  };
}

/** struct ip_mreqn of ip(7). */
function membership(group: IpAddress, index: number): Uint8Array {
  assert(group.family === 4, 'IGMP is for IPv4');
  const bytes = new Uint8Array(12);
  bytes.set(ipBytes(group), 0);
  new DataView(bytes.buffer).setInt32(8, index, true);
  return bytes;
}

function int(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}
