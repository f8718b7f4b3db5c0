import { attachFilter, bind, close, type FilterInstruction, linux, receive, send, setsockopt, socket } from './libc.ts';

/** Numbers of <linux/netlink.h>. */
export const NETLINK_ROUTE = 0;
export const NETLINK_SOCK_DIAG = 4;
export const NETLINK_NETFILTER = 12;
export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_CREATE = 0x400;
export const NLM_F_DUMP = 0x300;
export const NLMSG_ERROR = 2;
const NLM_F_DUMP_INTR = 0x10;
const NLMSG_DONE = 3;

/** struct nlmsghdr, and where its flags are. */
const headerBytes = 16;
export const flagsAt = 6;
/** struct nfgenmsg, with which the messages of NETLINK_NETFILTER begin. */
export const netfilterBytes = 4;
const attributeHeaderBytes = 4;
/** Attributes' types without the flags for nesting and byte order. */
const typeMask = 0x3fff;
/** A listing during which something has changed may lack something: it is begun anew, so often. */
const attemptsMax = 5;

export interface NetlinkHearing {
  /** Bits of the multicast groups that are heard besides. */
  readonly groups?: number;
  /** What of them is queued. By default all. */
  readonly filter?: readonly FilterInstruction[];
}

/** A netlink socket (netlink(7)) that hears what it asks for, with room for `queueBytes` of answers. Throws an OperatingError when there is none to be had. */
export function openNetlink(protocol: number, queueBytes: number, { groups = 0, filter }: NetlinkHearing = {}): number {
  const fd = socket(linux.AF_NETLINK, linux.SOCK_RAW, protocol);
  try {
    const size = new Uint8Array(4);
    new DataView(size.buffer).setInt32(0, queueBytes, true);
    setsockopt(fd, linux.SOL_SOCKET, linux.SO_RCVBUF, size);
    // Before anything can be queued.
    if (filter) attachFilter(fd, filter);
    bind(fd, netlinkAddress(groups));
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Opens one for `use` alone. */
export function withNetlink<T>(protocol: number, queueBytes: number, use: (fd: number) => T): T {
  const fd = openNetlink(protocol, queueBytes);
  try {
    return use(fd);
  } finally {
    close(fd);
  }
}

/** struct sockaddr_nl: the kernel picks the port. */
function netlinkAddress(groups: number): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, linux.AF_NETLINK, true);
  view.setUint32(8, groups, true);
  return bytes;
}

/** One message, with its header before these parts. */
export function netlinkMessage(type: number, flags: number, parts: readonly Uint8Array[]): Uint8Array {
  const message = concatenated([new Uint8Array(headerBytes), ...parts]);
  const view = new DataView(message.buffer);
  view.setUint32(0, message.length, true);
  view.setUint16(4, type, true);
  view.setUint16(flagsAt, flags, true);
  return message;
}

export interface NetfilterHead {
  readonly type: number;
  readonly flags: number;
  /** 0 where the message is about none. */
  readonly family?: number;
  /** What the subsystem has a number for, such as the group of a log. */
  readonly resource?: number;
}

/** One message to a subsystem of netfilter, with its headers. */
export function netfilterMessage(
  { type, flags, family = 0, resource = 0 }: NetfilterHead,
  attributes: readonly Uint8Array[],
): Uint8Array {
  const head = new Uint8Array(netfilterBytes);
  const view = new DataView(head.buffer);
  view.setUint8(0, family);
  view.setUint16(2, resource);
  return netlinkMessage(type, flags, [head, ...attributes]);
}

/** struct nlattr: length, type, value, padded to four bytes. */
export function netlinkAttribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array((attributeHeaderBytes + value.length + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, attributeHeaderBytes + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, attributeHeaderBytes);
  return bytes;
}

export function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Where something stands in an answer. */
export interface Span {
  readonly at: number;
  readonly end: number;
}

/** A message of an answer, without its header. */
export interface NetlinkMessage extends Span {
  readonly type: number;
  readonly flags: number;
}

/** The messages of an answer; what follows one that is cut short is left out. */
export function* netlinkMessages(view: DataView): Generator<NetlinkMessage> {
  for (let at = 0; at + headerBytes <= view.byteLength; ) {
    const end = at + view.getUint32(at, true);
    if (end < at + headerBytes || end > view.byteLength) return;
    yield { type: view.getUint16(at + 4, true), flags: view.getUint16(at + flagsAt, true), at: at + headerBytes, end };
    at = (end + 3) & ~3;
  }
}

/** The values of all attributes of one type. */
export function* netlinkAttributes(view: DataView, { at: begin, end }: Span, type: number): Generator<Span> {
  for (let at = begin; at + attributeHeaderBytes <= end; ) {
    const length = view.getUint16(at, true);
    if (length < attributeHeaderBytes || at + length > end) return;
    if ((view.getUint16(at + 2, true) & typeMask) === type) yield { at: at + attributeHeaderBytes, end: at + length };
    at += (length + 3) & ~3;
  }
}

/** The error number that a message of type NLMSG_ERROR tells (struct nlmsgerr), or of type NLMSG_DONE; 0 acknowledges. */
export function netlinkError(view: DataView, { at, end }: Span): number {
  return end - at < 4 ? 0 : -view.getInt32(at, true);
}

/** How a listing is asked for and read. */
export interface Listing<T> {
  readonly request: Uint8Array;
  /** Of what is read at once. */
  readonly receiveBytes: number;
  /** Adds what a message tells; the view stays as it is. */
  readonly read: (view: DataView, message: NetlinkMessage, listed: T[]) => void;
  /** What is thrown when the kernel answers with an error number. */
  readonly refused: (errno: number) => Error;
}

/** All that the kernel lists; begun anew when something changed meanwhile. */
export function listNetlink<T>(fd: number, listing: Listing<T>): T[] {
  for (let attempt = 1; ; attempt++) {
    const { listed, isWhole } = listOnce(fd, listing);
    if (isWhole || attempt === attemptsMax) return listed;
  }
}

function listOnce<T>(
  fd: number,
  { request, receiveBytes, read, refused }: Listing<T>,
): { readonly listed: T[]; readonly isWhole: boolean } {
  send(fd, request);
  const listed: T[] = [];
  const buffer = new Uint8Array(receiveBytes);
  for (let isWhole = true; ; ) {
    const length = receive(fd, buffer, 0) ?? 0;
    const view = new DataView(buffer.slice(0, length).buffer);
    for (const message of netlinkMessages(view)) {
      if ((message.flags & NLM_F_DUMP_INTR) !== 0) isWhole = false;
      // The last message may tell that the listing broke off.
      const isDone = message.type === NLMSG_DONE;
      const errno = isDone || message.type === NLMSG_ERROR ? netlinkError(view, message) : 0;
      if (errno > 0 || message.type === NLMSG_ERROR) throw refused(errno);
      if (isDone) return { listed, isWhole };
      read(view, message, listed);
    }
  }
}
