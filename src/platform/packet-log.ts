import { OperatingError } from '../base/operating-error.ts';
import { close, readable, receiveNetlink, send } from './libc.ts';
import { netlinkAttribute, openNetlink } from './netlink.ts';

/** Numbers of <linux/netlink.h> and <linux/netfilter/nfnetlink_log.h>. */
const NETLINK_NETFILTER = 12;
const NFULNL_MSG_PACKET = 4 << 8;
const NFULNL_MSG_CONFIG = (4 << 8) | 1;
const NFULA_CFG_CMD = 1;
const NFULA_CFG_MODE = 2;
const NFULA_CFG_QTHRESH = 5;
const NFULA_PAYLOAD = 9;
const NFULNL_CFG_CMD_BIND = 1;
const NFULNL_COPY_PACKET = 2;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLMSG_ERROR = 2;
const EPERM = 1;

/** struct nlmsghdr, and struct nfgenmsg after it. */
const headerBytes = 16;
const nfgenBytes = 4;
const receiveBytes = 32 * 1024;
/** What waits in the kernel at most: more is dropped there. */
const queueBytes = 256 * 1024;
/** Messages read before the event loop gets its turn. */
const messagesPerTurn = 64;

/** Packets that rules of this network namespace give to `log group`. */
export interface PacketLog {
  close(): Promise<void>;
}

/** Has the first `bytesMax` bytes of each packet, from the network header on. Needs CAP_NET_ADMIN; only one process can have a group. */
export function openPacketLog(
  group: number,
  bytesMax: number,
  handlers: { readonly onPacket: (packet: Uint8Array) => void; readonly onFailure: (error: unknown) => void },
): PacketLog {
  const fd = openNetlink(NETLINK_NETFILTER, queueBytes);
  try {
    configure(fd, group, netlinkAttribute(NFULA_CFG_CMD, Uint8Array.from([NFULNL_CFG_CMD_BIND])));
    // Each packet at once: by default the kernel waits for a hundred, or a second.
    const mode = netlinkAttribute(NFULA_CFG_MODE, Uint8Array.from([...u32(bytesMax), NFULNL_COPY_PACKET, 0]));
    configure(fd, group, Uint8Array.from([...mode, ...netlinkAttribute(NFULA_CFG_QTHRESH, u32(1))]));
  } catch (error) {
    close(fd);
    throw error;
  }
  const incoming = readable(fd);
  const reading = read().catch(handlers.onFailure);

  async function read(): Promise<void> {
    const buffer = new Uint8Array(receiveBytes);
    while (await incoming.wait()) {
      for (let i = 0; i < messagesPerTurn; i++) {
        const length = receiveNetlink(fd, buffer);
        if (length === null) break;
        if (length === 'overrun') continue;
        for (const packet of packetsOf(buffer.subarray(0, length))) handlers.onPacket(packet);
      }
    }
  }

  return {
    async close(): Promise<void> {
      await incoming.close();
      await reading;
    },
  };
}

function configure(fd: number, group: number, attributes: Uint8Array): void {
  const request = new Uint8Array(headerBytes + nfgenBytes + attributes.length);
  const view = new DataView(request.buffer);
  view.setUint32(0, request.length, true);
  view.setUint16(4, NFULNL_MSG_CONFIG, true);
  view.setUint16(6, NLM_F_REQUEST | NLM_F_ACK, true);
  view.setUint16(headerBytes + 2, group);
  request.set(attributes, headerBytes + nfgenBytes);
  send(fd, request);
  const answer = new Uint8Array(1024);
  const length = receiveNetlink(fd, answer);
  const said = new DataView(answer.buffer);
  const isAnswer = typeof length === 'number' && length >= headerBytes + 4 && said.getUint16(4, true) === NLMSG_ERROR;
  const error = isAnswer ? -said.getInt32(headerBytes, true) : -1;
  if (error === 0) return;
  throw new OperatingError(
    'packet-log',
    error === EPERM
      ? `NFLOG group ${group} is another program's, or this process may not listen to it`
      : `this kernel logs no packets to NFLOG group ${group}: error ${error}`,
  );
}

function* packetsOf(messages: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(messages.buffer, messages.byteOffset, messages.byteLength);
  for (let at = 0; at + headerBytes <= messages.length; ) {
    const length = view.getUint32(at, true);
    if (length < headerBytes || at + length > messages.length) return;
    if (view.getUint16(at + 4, true) === NFULNL_MSG_PACKET) {
      const payload = payloadOf(messages.subarray(at + headerBytes + nfgenBytes, at + length));
      if (payload) yield payload;
    }
    at += (length + 3) & ~3;
  }
}

function payloadOf(attributes: Uint8Array): Uint8Array | null {
  const view = new DataView(attributes.buffer, attributes.byteOffset, attributes.byteLength);
  for (let at = 0; at + 4 <= attributes.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > attributes.length) return null;
    if (view.getUint16(at + 2, true) === NFULA_PAYLOAD) return attributes.slice(at + 4, at + length);
    at += (length + 3) & ~3;
  }
  return null;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}
