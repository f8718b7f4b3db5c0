import { OperatingError } from '../base/operating-error.ts';
import type { ChangeElements } from '../dataplane/nft.ts';
import type { ElementChange, NewElement } from '../dataplane/nft-fences.ts';
import { linux, receive, send } from './libc.ts';
import {
  concatenated,
  flagsAt,
  NETLINK_NETFILTER,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_REQUEST,
  NLMSG_ERROR,
  netfilterMessage,
  netlinkAttribute,
  netlinkError,
  netlinkMessages,
  openNetlink,
} from './netlink.ts';
import {
  NFNL_SUBSYS_NFTABLES,
  NFT_MSG_DELSETELEM,
  NFT_MSG_NEWSETELEM,
  NFTA_DATA_VALUE,
  NFTA_LIST_ELEM,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  nftFamilies,
  setNames,
} from './nft-messages.ts';

/** Numbers of <linux/netlink.h> (nested attributes), <linux/netfilter/nfnetlink.h> and <linux/netfilter/nf_tables.h>. */
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NLA_F_NESTED = 0x8000;
const NFTA_SET_ELEM_DATA = 2;
const NFTA_SET_ELEM_TIMEOUT = 4;

const answerBytes = 16 * 1024;

/**
 * Changes elements of sets and maps, in this network namespace, straight by netlink: libnftables reads all that the kernel has before each change, which an agent that renews its leases twenty times a second
 * would spend half of its time on.
 */
export function openElementChanges(): ChangeElements {
  const fd = openNetlink(NETLINK_NETFILTER, answerBytes);
  const answer = new Uint8Array(answerBytes);
  return (changes) => {
    const messages = changes.flatMap(messagesOf);
    const last = messages.at(-1);
    if (!last) return;
    askForAnswer(last);
    send(fd, concatenated([bound(NFNL_MSG_BATCH_BEGIN), ...messages, bound(NFNL_MSG_BATCH_END)]));
    const errors = answersOf(fd, answer);
    const error = errors.find((each) => each !== 0);
    if (error !== undefined || errors.length === 0)
      throw new OperatingError(
        'nftables',
        `nftables refused a change of elements: error ${error ?? 'without a number'}`,
      );
  };
}

/** One that fails is answered anyway. */
function askForAnswer(message: Uint8Array): void {
  const view = new DataView(message.buffer);
  view.setUint16(flagsAt, view.getUint16(flagsAt, true) | NLM_F_ACK, true);
}

/** The kernel has answered when `send` returns: an error number for each message that asked for it or failed. */
function answersOf(fd: number, answer: Uint8Array): number[] {
  const errors: number[] = [];
  for (;;) {
    const length = receive(fd, answer, linux.MSG_DONTWAIT);
    if (length === null) return errors;
    const view = new DataView(answer.buffer, 0, length);
    for (const message of netlinkMessages(view))
      if (message.type === NLMSG_ERROR) errors.push(netlinkError(view, message));
  }
}

function messagesOf({ family, table, set, flush, add }: ElementChange): Uint8Array[] {
  const names = setNames(table, set);
  const message = (type: number, flags: number, attributes: readonly Uint8Array[]): Uint8Array =>
    netfilterMessage({ type, flags: flags | NLM_F_REQUEST, family: nftFamilies[family] }, attributes);
  return [
    ...(flush ? [message(NFT_MSG_DELSETELEM, 0, names)] : []),
    ...(add ? [message(NFT_MSG_NEWSETELEM, NLM_F_CREATE, [...names, elementsOf(add)])] : []),
  ];
}

function elementsOf({ key, data, timeoutMs }: NewElement): Uint8Array {
  return nested(NFTA_SET_ELEM_LIST_ELEMENTS, [
    nested(NFTA_LIST_ELEM, [
      nested(NFTA_SET_ELEM_KEY, [netlinkAttribute(NFTA_DATA_VALUE, key)]),
      ...(data ? [nested(NFTA_SET_ELEM_DATA, [netlinkAttribute(NFTA_DATA_VALUE, data)])] : []),
      ...(timeoutMs === undefined ? [] : [netlinkAttribute(NFTA_SET_ELEM_TIMEOUT, networkNumber(timeoutMs))]),
    ]),
  ]);
}

/** The beginning or the end of a transaction. */
function bound(type: number): Uint8Array {
  return netfilterMessage({ type, flags: NLM_F_REQUEST, resource: NFNL_SUBSYS_NFTABLES }, []);
}

function nested(type: number, attributes: readonly Uint8Array[]): Uint8Array {
  return netlinkAttribute(type | NLA_F_NESTED, concatenated(attributes));
}

function networkNumber(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}
