import { setTimeout as pause } from 'node:timers/promises';
import { oneLine } from '../base/one-line.ts';
import { OperatingError } from '../base/operating-error.ts';
import type { KernelEventHandlers, KernelEvents, OtherProcess } from '../ports/kernel-events.ts';
import { anyReadable, close, type FilterInstruction, receiveNetlink, send } from './libc.ts';
import {
  NETLINK_NETFILTER,
  NETLINK_ROUTE,
  NLM_F_REQUEST,
  netfilterBytes,
  netfilterMessage,
  netlinkAttributes,
  netlinkMessages,
  openNetlink,
  withNetlink,
} from './netlink.ts';
import { NFT_MSG_GETGEN, NFT_MSG_NEWGEN } from './nft-messages.ts';
import { readable } from './readable.ts';

/** Numbers of <linux/rtnetlink.h>, <linux/netfilter/nfnetlink.h>, <linux/netfilter/nf_tables.h>. */
const RTMGRP_LINK = 1;
const RTMGRP_IPV4_IFADDR = 0x10;
const RTMGRP_IPV4_ROUTE = 0x40;
const RTMGRP_IPV4_RULE = 0x80;
const NFNLGRP_NFTABLES = 7;
const NFTA_GEN_PROC_PID = 2;
const NFTA_GEN_PROC_NAME = 3;

/** What waits in the kernel at most: what is dropped is told by one call that says so. */
const queueBytes = 104 * 1024;
const receiveBytes = 32 * 1024;
/** Datagrams read of one socket before the event loop gets its turn. */
const datagramsPerTurn = 256;

/** Needs CAP_NET_ADMIN. For `pauseMs` after a turn the sockets' own bounded queues collect what comes, however much another program does. */
export function openKernelEvents(handlers: KernelEventHandlers, pauseMs = 20): KernelEvents {
  const opened: number[] = [];
  const open = (...args: Parameters<typeof openNetlink>): number => {
    const fd = openNetlink(...args);
    opened.push(fd);
    return fd;
  };
  try {
    // The kernel itself leaves out of the queue all but the notices of the ends of others' transactions.
    const filter = othersTransactions(ownProcessId());
    const ruleset = open(NETLINK_NETFILTER, queueBytes, { groups: 1 << (NFNLGRP_NFTABLES - 1), filter });
    const addresses = open(NETLINK_ROUTE, queueBytes, { groups: RTMGRP_LINK | RTMGRP_IPV4_IFADDR });
    const sources = [
      sourceOf(ruleset, changer, handlers.onRuleset),
      sourceOf(addresses, something, handlers.onAddresses),
    ];
    if (handlers.onRoutes) {
      const routes = open(NETLINK_ROUTE, queueBytes, { groups: RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE });
      sources.push(sourceOf(routes, something, handlers.onRoutes));
    }
    const any = anyReadable(opened);
    opened.push(any);
    return watch(sources, any, { onFailure: handlers.onFailure, pauseMs });
  } catch (error) {
    for (const fd of opened) close(fd);
    throw error;
  }
}

/** What is told of one socket. */
interface Source {
  readonly fd: number;
  /** Reads what waits; returns what tells of it, when there was something. */
  read(): (() => void) | null;
}

function sourceOf<T>(fd: number, said: (datagram: DataView) => T | null, tell: (said: T | null) => void): Source {
  return {
    fd,
    read() {
      const last = drain(fd, said);
      return last === undefined ? null : () => tell(last);
    },
  };
}

const something = (): true => true;

function watch(
  sources: readonly Source[],
  any: number,
  { onFailure, pauseMs }: Pick<KernelEventHandlers, 'onFailure'> & { readonly pauseMs: number },
): KernelEvents {
  const incoming = readable(any);
  const closing = new AbortController();
  const reading = read().catch((error: unknown) => {
    if (!closing.signal.aborted) onFailure(error);
  });

  async function read(): Promise<void> {
    while (await incoming.wait()) {
      for (const tell of sources.map((source) => source.read())) tell?.();
      await pause(pauseMs, undefined, { signal: closing.signal });
    }
  }

  return {
    async close(): Promise<void> {
      if (closing.signal.aborted) return;
      closing.abort();
      await incoming.close();
      await reading;
      for (const { fd } of sources) close(fd);
    },
  };
}

/**
 * What the last of the waiting datagrams says; null when some were dropped, undefined when none was waiting. What is left waiting makes another
 * call later: the kernel drops everything from an overrun until the queue was read empty, so a drop too is followed by a call.
 */
function drain<T>(fd: number, read: (datagram: DataView) => T): T | null | undefined {
  const buffer = new Uint8Array(receiveBytes);
  let last: T | null | undefined;
  let overrun = false;
  for (let i = 0; i < datagramsPerTurn; i++) {
    const length = receiveNetlink(fd, buffer);
    if (length === null) break;
    if (length === 'overrun') overrun = true;
    else last = read(new DataView(buffer.buffer, 0, length));
  }
  return overrun ? null : last;
}

/**
 * The id that notices of our own transactions carry. It is the thread's, outside of all containers, where `process.pid` is another; but the
 * kernel answers NFT_MSG_GETGEN with the same function that makes the notices (nf_tables_fill_gen_info), and names who asks.
 */
function ownProcessId(): number {
  const own = withNetlink(NETLINK_NETFILTER, receiveBytes, (fd) => {
    send(fd, netfilterMessage({ type: NFT_MSG_GETGEN, flags: NLM_F_REQUEST }, []));
    const answer = new Uint8Array(1024);
    const length = receiveNetlink(fd, answer);
    return typeof length === 'number' ? changer(new DataView(answer.buffer, 0, length)) : null;
  });
  if (own) return own.processId;
  throw new OperatingError('kernel-events', 'the kernel does not tell who changes its nftables rules', {
    remedy: 'the agent needs CAP_NET_ADMIN',
  });
}

/** The process that a NFT_MSG_NEWGEN names; null when it names none. */
function changer(view: DataView): OtherProcess | null {
  const [message] = netlinkMessages(view);
  if (message?.type !== NFT_MSG_NEWGEN) return null;
  const attributes = { at: message.at + netfilterBytes, end: message.end };
  const [id] = netlinkAttributes(view, attributes, NFTA_GEN_PROC_PID);
  const [name] = netlinkAttributes(view, attributes, NFTA_GEN_PROC_NAME);
  if (!id || id.end - id.at !== 4 || !name) return null;
  const text = new TextDecoder().decode(new Uint8Array(view.buffer, name.at, name.end - name.at));
  return { processId: view.getUint32(id.at), processName: oneLine(text.replace(/\0.*$/s, '')) };
}

/**
 * Each heartbeat makes a transaction of our own: they must not even wake us. Loads are in network byte order, the header's fields in the
 * host's. In a notice the process id is the second attribute, at byte 28; should that ever change, too much is told rather than too little.
 */
function othersTransactions(ownProcess: number): FilterInstruction[] {
  const [loadHalf, loadWord, jumpIfEqual, give] = [0x28, 0x20, 0x15, 0x06];
  // After struct nlmsghdr, struct nfgenmsg and the first attribute.
  const [typeAt, attributeAt] = [4, 16 + netfilterBytes + 8];
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
