import { netlinkAttribute } from './netlink.ts';

/** Numbers of <linux/netlink.h>, <linux/netfilter/nfnetlink.h> and <linux/netfilter/nf_tables.h>. */
export const NETLINK_NETFILTER = 12;
export const NFNL_SUBSYS_NFTABLES = 10;
export const NFT_MSG_NEWSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 12;
export const NFT_MSG_GETSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 13;
export const NFT_MSG_DELSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 14;
export const NLM_F_REQUEST = 0x1;
export const NLMSG_ERROR = 2;
export const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
export const NFTA_LIST_ELEM = 1;
export const NFTA_SET_ELEM_KEY = 1;
export const NFTA_DATA_VALUE = 1;
export const nftFamilies = { ip: 2, netdev: 5 } as const;
const NFTA_SET_ELEM_LIST_TABLE = 1;
const NFTA_SET_ELEM_LIST_SET = 2;

/** struct nlmsghdr and struct nfgenmsg. */
const headerBytes = 16;
export const nftFamilyBytes = 4;
/** Of the flags in the former. */
export const flagsAt = 6;

export interface NftHead {
  readonly type: number;
  readonly flags: number;
  readonly family: number;
  /** Of a transaction's beginning and end; 0 otherwise. */
  readonly subsystem: number;
}

/** One message, with its header. */
export function nftMessage({ type, flags, family, subsystem }: NftHead, attributes: readonly Uint8Array[]): Uint8Array {
  const message = concatenated([new Uint8Array(headerBytes + nftFamilyBytes), ...attributes]);
  const view = new DataView(message.buffer);
  view.setUint32(0, message.length, true);
  view.setUint16(4, type, true);
  view.setUint16(flagsAt, flags, true);
  view.setUint8(headerBytes, family);
  view.setUint16(headerBytes + 2, subsystem);
  return message;
}

/** The attributes of a message about elements that say of which set of which table. */
export function setNames(table: string, set: string): Uint8Array[] {
  const text = (type: number, value: string): Uint8Array =>
    netlinkAttribute(type, new TextEncoder().encode(`${value}\0`));
  return [text(NFTA_SET_ELEM_LIST_TABLE, table), text(NFTA_SET_ELEM_LIST_SET, set)];
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
