import { OperatingError } from '../base/operating-error.ts';
import { close, receiveNetlink, send } from './libc.ts';
import {
  NETLINK_NETFILTER,
  NLM_F_ACK,
  NLM_F_REQUEST,
  NLMSG_ERROR,
  netfilterBytes,
  netfilterMessage,
  netlinkAttribute,
  netlinkAttributes,
  netlinkError,
  netlinkMessages,
  openNetlink,
} from './netlink.ts';
import { readable } from './readable.ts';

/** Numbers of <linux/netfilter/nfnetlink_log.h>. */
const NFULNL_MSG_PACKET = 4 << 8;
const NFULNL_MSG_CONFIG = (4 << 8) | 1;
const NFULA_CFG_CMD = 1;
const NFULA_CFG_MODE = 2;
const NFULA_CFG_QTHRESH = 5;
const NFULA_PAYLOAD = 9;
const NFULNL_CFG_CMD_BIND = 1;
const NFULNL_COPY_PACKET = 2;
const EPERM = 1;

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
    configure(fd, group, [netlinkAttribute(NFULA_CFG_CMD, Uint8Array.from([NFULNL_CFG_CMD_BIND]))]);
    // Each packet at once: by default the kernel waits for a hundred, or a second.
    const mode = netlinkAttribute(NFULA_CFG_MODE, Uint8Array.from([...u32(bytesMax), NFULNL_COPY_PACKET, 0]));
    configure(fd, group, [mode, netlinkAttribute(NFULA_CFG_QTHRESH, u32(1))]);
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
        for (const packet of packetsOf(new DataView(buffer.buffer, 0, length))) handlers.onPacket(packet);
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

function configure(fd: number, group: number, attributes: readonly Uint8Array[]): void {
  const head = { type: NFULNL_MSG_CONFIG, flags: NLM_F_REQUEST | NLM_F_ACK, resource: group };
  send(fd, netfilterMessage(head, attributes));
  const answer = new Uint8Array(1024);
  const length = receiveNetlink(fd, answer);
  const view = new DataView(answer.buffer, 0, typeof length === 'number' ? length : 0);
  const [said] = netlinkMessages(view);
  const error = said?.type === NLMSG_ERROR ? netlinkError(view, said) : -1;
  if (error === 0) return;
  throw new OperatingError(
    'packet-log',
    error === EPERM
      ? `NFLOG group ${group} is another program's, or this process may not listen to it`
      : `this kernel logs no packets to NFLOG group ${group}: error ${error}`,
  );
}

function* packetsOf(view: DataView): Generator<Uint8Array> {
  for (const { type, at, end } of netlinkMessages(view)) {
    if (type !== NFULNL_MSG_PACKET) continue;
    const [payload] = netlinkAttributes(view, { at: at + netfilterBytes, end }, NFULA_PAYLOAD);
    if (payload) yield new Uint8Array(view.buffer.slice(payload.at, payload.end));
  }
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}
