import { setTimeout as pause } from 'node:timers/promises';
import { oneLine } from '../base/one-line.ts';
import { OperatingError } from '../base/operating-error.ts';
import type { KernelEventHandlers, KernelEvents, OtherProcess } from '../ports/kernel-events.ts';
import {
  anyReadable,
  attachFilter,
  bind,
  close,
  type FilterInstruction,
  linux,
  readable,
  receiveNetlink,
  send,
  socket,
} from './libc.ts';

/** Numbers of <linux/netlink.h>, <linux/rtnetlink.h>, <linux/netfilter/nfnetlink.h>, <linux/netfilter/nf_tables.h>. */
const NETLINK_ROUTE = 0;
const NETLINK_NETFILTER = 12;
const RTMGRP_LINK = 1;
const RTMGRP_IPV4_IFADDR = 0x10;
const NFNLGRP_NFTABLES = 7;
const NFT_MSG_NEWGEN = (10 << 8) | 15;
const NFT_MSG_GETGEN = (10 << 8) | 16;
const NFTA_GEN_PROC_PID = 2;
const NFTA_GEN_PROC_NAME = 3;
const NLM_F_REQUEST = 1;

/** struct nlmsghdr, and struct nfgenmsg after it. */
const headerBytes = 16;
const nfgenBytes = 4;
const receiveBytes = 32 * 1024;
/** Datagrams read of one socket before the event loop gets its turn. */
const datagramsPerTurn = 256;
/** After a turn the sockets' own bounded queues collect what comes, however much another program does. */
const pauseMs = 20;

/** Needs CAP_NET_ADMIN. */
export function openKernelEvents(handlers: KernelEventHandlers): KernelEvents {
  const opened: number[] = [];
  try {
    const ruleset = openRulesetSocket(opened);
    const addresses = openSocket(opened, NETLINK_ROUTE, RTMGRP_LINK | RTMGRP_IPV4_IFADDR);
    const either = anyReadable(opened);
    opened.push(either);
    return watch(ruleset, addresses, either, handlers);
  } catch (error) {
    for (const fd of opened) close(fd);
    throw error;
  }
}

function watch(ruleset: number, addresses: number, either: number, handlers: KernelEventHandlers): KernelEvents {
  const incoming = readable(either);
  const closing = new AbortController();
  const reading = read().catch((error: unknown) => {
    if (!closing.signal.aborted) handlers.onFailure(error);
  });

  async function read(): Promise<void> {
    while (await incoming.wait()) {
      const by = drain(ruleset, changer);
      const changed = drain(addresses, () => true);
      if (by !== undefined) handlers.onRuleset(by);
      if (changed !== undefined) handlers.onAddresses();
      await pause(pauseMs, undefined, { signal: closing.signal });
    }
  }

  return {
    async close(): Promise<void> {
      if (closing.signal.aborted) return;
      closing.abort();
      await incoming.close();
      await reading;
      close(ruleset);
      close(addresses);
    },
  };
}

/**
 * What the last of the waiting datagrams says; null when some were dropped, undefined when none was waiting. What is left waiting makes another
 * call later: the kernel drops everything from an overrun until the queue was read empty, so a drop too is followed by a call.
 */
function drain<T>(fd: number, read: (datagram: Uint8Array) => T): T | null | undefined {
  const buffer = new Uint8Array(receiveBytes);
  let last: T | null | undefined;
  let overrun = false;
  for (let i = 0; i < datagramsPerTurn; i++) {
    const length = receiveNetlink(fd, buffer);
    if (length === null) break;
    if (length === 'overrun') overrun = true;
    else last = read(buffer.subarray(0, length));
  }
  return overrun ? null : last;
}

/** The kernel itself leaves out of the queue all but the notices of the ends of others' transactions. */
function openRulesetSocket(opened: number[]): number {
  const own = ownProcessId();
  const fd = socket(linux.AF_NETLINK, linux.SOCK_RAW, NETLINK_NETFILTER);
  opened.push(fd);
  attachFilter(fd, othersTransactions(own));
  bind(fd, netlinkAddress(1 << (NFNLGRP_NFTABLES - 1)));
  return fd;
}

function openSocket(opened: number[], protocol: number, groups: number): number {
  const fd = socket(linux.AF_NETLINK, linux.SOCK_RAW, protocol);
  opened.push(fd);
  bind(fd, netlinkAddress(groups));
  return fd;
}

/**
 * The id that notices of our own transactions carry. It is the thread's, outside of all containers, where `process.pid` is another; but the
 * kernel answers NFT_MSG_GETGEN with the same function that makes the notices (nf_tables_fill_gen_info), and names who asks.
 */
function ownProcessId(): number {
  const fd = socket(linux.AF_NETLINK, linux.SOCK_RAW, NETLINK_NETFILTER);
  try {
    const request = new Uint8Array(headerBytes + nfgenBytes);
    const view = new DataView(request.buffer);
    view.setUint32(0, request.length, true);
    view.setUint16(4, NFT_MSG_GETGEN, true);
    view.setUint16(6, NLM_F_REQUEST, true);
    send(fd, request);
    const answer = new Uint8Array(1024);
    const length = receiveNetlink(fd, answer);
    const own = typeof length === 'number' ? changer(answer.subarray(0, length)) : null;
    if (own) return own.processId;
  } finally {
    close(fd);
  }
  throw new OperatingError('kernel-events', 'the kernel does not tell who changes its nftables rules', {
    remedy: 'the agent needs CAP_NET_ADMIN',
  });
}

/** The process that a NFT_MSG_NEWGEN names; null when it names none. */
function changer(datagram: Uint8Array): OtherProcess | null {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  if (datagram.length < headerBytes || view.getUint16(4, true) !== NFT_MSG_NEWGEN) return null;
  const attributes = new Map(attributesOf(datagram.subarray(headerBytes + nfgenBytes)));
  const id = attributes.get(NFTA_GEN_PROC_PID);
  const name = attributes.get(NFTA_GEN_PROC_NAME);
  if (id?.length !== 4 || !name) return null;
  return {
    processId: new DataView(id.buffer, id.byteOffset).getUint32(0),
    processName: oneLine(new TextDecoder().decode(name).replace(/\0.*$/s, '')),
  };
}

/** struct nlattr: length, type, value, padded to four bytes. */
function* attributesOf(bytes: Uint8Array): Generator<[type: number, value: Uint8Array]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > bytes.length) return;
    yield [view.getUint16(at + 2, true), bytes.subarray(at + 4, at + length)];
    at += (length + 3) & ~3;
  }
}

/**
 * Each heartbeat makes two transactions of our own: they must not even wake us. Loads are in network byte order, the header's fields in the
 * host's. In a notice the process id is the second attribute, at byte 28; should that ever change, too much is told rather than too little.
 */
function othersTransactions(ownProcess: number): FilterInstruction[] {
  const [loadHalf, loadWord, jumpIfEqual, give] = [0x28, 0x20, 0x15, 0x06];
  const [typeAt, attributeAt] = [4, headerBytes + nfgenBytes + 8];
  return [
    [loadHalf, 0, 0, typeAt],
    [jumpIfEqual, 0, 5, ((NFT_MSG_NEWGEN & 0xff) << 8) | (NFT_MSG_NEWGEN >> 8)],
    [loadWord, 0, 0, attributeAt],
    [jumpIfEqual, 0, 2, (8 << 24) | (NFTA_GEN_PROC_PID << 8)],
    [loadWord, 0, 0, attributeAt + 4],
    [jumpIfEqual, 1, 0, ownProcess],
    [give, 0, 0, 0xffffffff],
    [give, 0, 0, 0],
  ];
}

/** struct sockaddr_nl: the kernel picks the port. */
function netlinkAddress(groups: number): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, linux.AF_NETLINK, true);
  view.setUint32(8, groups, true);
  return bytes;
}
