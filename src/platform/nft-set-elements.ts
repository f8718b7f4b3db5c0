import { OperatingError } from '../base/operating-error.ts';
import type { ReadSet } from '../dataplane/nft.ts';
import { close, receive, send } from './libc.ts';
import { netlinkAttribute, netlinkAttributes, netlinkMessages, openNetlink, type Span } from './netlink.ts';

/** Numbers of <linux/netlink.h>, <linux/netfilter/nfnetlink.h> and <linux/netfilter/nf_tables.h>. */
const NETLINK_NETFILTER = 12;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_GETSETELEM = 13;
const NFPROTO_NETDEV = 5;
const NLM_F_REQUEST = 1;
const NLM_F_DUMP = 0x300;
const NLM_F_DUMP_INTR = 0x10;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NFTA_SET_ELEM_LIST_TABLE = 1;
const NFTA_SET_ELEM_LIST_SET = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_LIST_ELEM = 1;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_DATA_VALUE = 1;

/** struct nlmsghdr and struct nfgenmsg. */
const headerBytes = 16;
const familyBytes = 4;
const receiveBytes = 256 * 1024;
/** A listing during which somebody has changed nftables may lack elements: it is begun anew, so often. */
const attemptsMax = 5;

/**
 * Keys of the elements of a set of a netdev table, those that have not expired. Straight from the kernel: libnftables takes some 20 µs for each element, and a
 * process that is blocked for a second has lost its lease.
 */
export const readSetElements: ReadSet = (table, set) => {
  for (let attempt = 1; ; attempt++) {
    const { keys, isWhole } = dump(table, set);
    if (isWhole || attempt === attemptsMax) return keys;
  }
};

function dump(table: string, set: string): { readonly keys: readonly DataView[]; readonly isWhole: boolean } {
  const fd = openNetlink(NETLINK_NETFILTER, receiveBytes);
  try {
    send(fd, request(table, set));
    const keys: DataView[] = [];
    const buffer = new Uint8Array(receiveBytes);
    for (let isWhole = true; ; ) {
      const length = receive(fd, buffer, 0) ?? 0;
      // Keys are views of it, and the buffer is used again.
      const view = new DataView(buffer.slice(0, length).buffer);
      for (const message of netlinkMessages(view)) {
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) isWhole = false;
        if (message.type === NLMSG_DONE) return { keys, isWhole };
        if (message.type === NLMSG_ERROR) throw refused(set, -view.getInt32(message.at, true));
        if (message.type === ((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWSETELEM)) keys.push(...keysOf(view, message));
      }
    }
  } finally {
    close(fd);
  }
}

function refused(set: string, errno: number): OperatingError {
  return new OperatingError('nftables', `the kernel does not list the set ${set}: error ${errno}`);
}

function request(table: string, set: string): Uint8Array {
  const names = [
    [NFTA_SET_ELEM_LIST_TABLE, table],
    [NFTA_SET_ELEM_LIST_SET, set],
  ] as const;
  const attributes = names.map(([type, text]) => netlinkAttribute(type, new TextEncoder().encode(`${text}\0`)));
  const length = attributes.reduce((sum, each) => sum + each.length, headerBytes + familyBytes);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, true);
  view.setUint16(4, (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETSETELEM, true);
  view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, true);
  bytes[headerBytes] = NFPROTO_NETDEV;
  let at = headerBytes + familyBytes;
  for (const each of attributes) {
    bytes.set(each, at);
    at += each.length;
  }
  return bytes;
}

function keysOf(view: DataView, { at, end }: Span): DataView[] {
  const keys: DataView[] = [];
  for (const elements of netlinkAttributes(view, { at: at + familyBytes, end }, NFTA_SET_ELEM_LIST_ELEMENTS)) {
    for (const element of netlinkAttributes(view, elements, NFTA_LIST_ELEM)) {
      for (const key of netlinkAttributes(view, element, NFTA_SET_ELEM_KEY)) {
        for (const data of netlinkAttributes(view, key, NFTA_DATA_VALUE))
          keys.push(new DataView(view.buffer, data.at, data.end - data.at));
      }
    }
  }
  return keys;
}
