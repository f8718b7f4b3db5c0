import { OperatingError } from '../base/operating-error.ts';
import type { ReadSet } from '../dataplane/nft.ts';
import {
  listNetlink,
  NETLINK_NETFILTER,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  netfilterBytes,
  netfilterMessage,
  netlinkAttributes,
  type Span,
  withNetlink,
} from './netlink.ts';
import {
  NFT_MSG_GETSETELEM,
  NFT_MSG_NEWSETELEM,
  NFTA_DATA_VALUE,
  NFTA_LIST_ELEM,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  nftFamilies,
  setNames,
} from './nft-messages.ts';

const receiveBytes = 256 * 1024;

/**
 * Keys of the elements of a set of a netdev table, those that have not expired. Straight from the kernel: libnftables takes some 20 µs for each element, and a
 * process that is blocked for a second has lost its lease.
 */
export const readSetElements: ReadSet = (table, set) => {
  const head = { type: NFT_MSG_GETSETELEM, flags: NLM_F_REQUEST | NLM_F_DUMP, family: nftFamilies.netdev };
  return withNetlink(NETLINK_NETFILTER, receiveBytes, (fd) =>
    listNetlink<DataView>(fd, {
      request: netfilterMessage(head, setNames(table, set)),
      receiveBytes,
      read(view, message, keys) {
        if (message.type === NFT_MSG_NEWSETELEM) addKeys(keys, view, message);
      },
      refused: (errno) => new OperatingError('nftables', `the kernel does not list the set ${set}: error ${errno}`),
    }),
  );
};

function addKeys(keys: DataView[], view: DataView, { at, end }: Span): void {
  for (const elements of netlinkAttributes(view, { at: at + netfilterBytes, end }, NFTA_SET_ELEM_LIST_ELEMENTS)) {
    for (const element of netlinkAttributes(view, elements, NFTA_LIST_ELEM)) {
      for (const key of netlinkAttributes(view, element, NFTA_SET_ELEM_KEY)) {
        for (const data of netlinkAttributes(view, key, NFTA_DATA_VALUE))
          keys.push(new DataView(view.buffer, data.at, data.end - data.at));
      }
    }
  }
}
