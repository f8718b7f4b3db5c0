import { OperatingError } from '../base/operating-error.ts';
import type { ReadSet } from '../dataplane/nft.ts';
import { close, receive, send } from './libc.ts';
import { netlinkAttributes, netlinkMessages, openNetlink, type Span } from './netlink.ts';
import {
  NETLINK_NETFILTER,
  NFT_MSG_GETSETELEM,
  NFT_MSG_NEWSETELEM,
  NFTA_DATA_VALUE,
  NFTA_LIST_ELEM,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  NLM_F_REQUEST,
  NLMSG_ERROR,
  nftFamilies,
  nftFamilyBytes,
  nftMessage,
  setNames,
} from './nft-messages.ts';

/** Numbers of <linux/netlink.h>. */
const NLM_F_DUMP = 0x300;
const NLM_F_DUMP_INTR = 0x10;
const NLMSG_DONE = 3;

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
        if (message.type === NFT_MSG_NEWSETELEM) keys.push(...keysOf(view, message));
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
  const head = {
    type: NFT_MSG_GETSETELEM,
    flags: NLM_F_REQUEST | NLM_F_DUMP,
    family: nftFamilies.netdev,
    subsystem: 0,
  };
  return nftMessage(head, setNames(table, set));
}

function keysOf(view: DataView, { at, end }: Span): DataView[] {
  const keys: DataView[] = [];
  for (const elements of netlinkAttributes(view, { at: at + nftFamilyBytes, end }, NFTA_SET_ELEM_LIST_ELEMENTS)) {
    for (const element of netlinkAttributes(view, elements, NFTA_LIST_ELEM)) {
      for (const key of netlinkAttributes(view, element, NFTA_SET_ELEM_KEY)) {
        for (const data of netlinkAttributes(view, key, NFTA_DATA_VALUE))
          keys.push(new DataView(view.buffer, data.at, data.end - data.at));
      }
    }
  }
  return keys;
}
