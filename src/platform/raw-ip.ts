import { close, errnoOf, linux, send, setsockopt, socket } from './libc.ts';

const IPPROTO_RAW = 255;
const SO_PRIORITY = 12;

/** Sends whole IPv4 packets as they are (raw(7)). */
export interface RawIp {
  /** What the host cannot send now, or its rules drop, is lost as packets are. */
  send(packet: Uint8Array): void;
  close(): void;
}

/** `priority` is what rules know the packets by (SO_PRIORITY of socket(7)). Needs CAP_NET_RAW and, for a priority above 6, CAP_NET_ADMIN. */
export function openRawIp(priority: number): RawIp {
  const fd = socket(linux.AF_INET, linux.SOCK_RAW | linux.SOCK_NONBLOCK, IPPROTO_RAW);
  try {
    const value = new Uint8Array(4);
    new DataView(value.buffer).setUint32(0, priority, true);
    setsockopt(fd, linux.SOL_SOCKET, SO_PRIORITY, value);
  } catch (error) {
    close(fd);
    throw error;
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
    close: () => close(fd),
  };
}
