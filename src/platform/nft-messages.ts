import { netlinkAttribute } from './netlink.ts';

/** Numbers of <linux/netfilter/nfnetlink.h> and <linux/netfilter/nf_tables.h>. */
export const NFNL_SUBSYS_NFTABLES = 10;
export const NFT_MSG_NEWSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 12;
export const NFT_MSG_GETSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 13;
export const NFT_MSG_DELSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 14;
export const NFT_MSG_NEWGEN = (NFNL_SUBSYS_NFTABLES << 8) | 15;
export const NFT_MSG_GETGEN = (NFNL_SUBSYS_NFTABLES << 8) | 16;
export const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
export const NFTA_LIST_ELEM = 1;
export const NFTA_SET_ELEM_KEY = 1;
export const NFTA_DATA_VALUE = 1;
export const nftFamilies = { ip: 2, netdev: 5 } as const;
const NFTA_SET_ELEM_LIST_TABLE = 1;
const NFTA_SET_ELEM_LIST_SET = 2;

/** The attributes of a message about elements that say of which set of which table. */
export function setNames(table: string, set: string): Uint8Array[] {
  const text = (type: number, value: string): Uint8Array =>
    netlinkAttribute(type, new TextEncoder().encode(`${value}\0`));
  return [text(NFTA_SET_ELEM_LIST_TABLE, table), text(NFTA_SET_ELEM_LIST_SET, set)];
}
