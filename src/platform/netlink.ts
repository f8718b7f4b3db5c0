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

/** Where something stands in an answer. */
export interface Span {
  readonly at: number;
  readonly end: number;
}

/** struct nlmsghdr. */
const headerBytes = 16;

/** The messages of an answer, each without its header. */
export function* netlinkMessages(view: DataView): Generator<Span & { readonly type: number; readonly flags: number }> {
  for (let at = 0; at + headerBytes <= view.byteLength; ) {
    const end = at + view.getUint32(at, true);
    if (end < at + headerBytes || end > view.byteLength) return;
    yield { type: view.getUint16(at + 4, true), flags: view.getUint16(at + 6, true), at: at + headerBytes, end };
    at = (end + 3) & ~3;
  }
}

/** Attributes' types without the flags for nesting and byte order. */
const typeMask = 0x3fff;

/** The values of all attributes of one type. */
export function* netlinkAttributes(view: DataView, { at: begin, end }: Span, type: number): Generator<Span> {
  for (let at = begin; at + 4 <= end; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > end) return;
    if ((view.getUint16(at + 2, true) & typeMask) === type) yield { at: at + 4, end: at + length };
    at += (length + 3) & ~3;
  }
}
