import { bind, close, linux, setsockopt, socket } from './libc.ts';

/** A netlink socket (netlink(7)) that hears what it asks for, with room for `queueBytes` of answers. Throws an OperatingError when there is none to be had. */
export function openNetlink(protocol: number, queueBytes: number): number {
  const fd = socket(linux.AF_NETLINK, linux.SOCK_RAW, protocol);
  try {
    const size = new Uint8Array(4);
    new DataView(size.buffer).setInt32(0, queueBytes, true);
    setsockopt(fd, linux.SOL_SOCKET, linux.SO_RCVBUF, size);
    bind(fd, Uint8Array.from([linux.AF_NETLINK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** struct nlattr: length, type, value, padded to four bytes. */
export function netlinkAttribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array((4 + value.length + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, 4);
  return bytes;
}
