// Sends SYNs in Ethernet frames as fast as one core can, by sendmmsg(2) on AF_PACKET past the queueing discipline: `node frame-flood.mjs '{"device":"t0", …}'`. Prints how many, as JSON. The frames are all that
// the kernel copies: 60 bytes, one for each source. (pktgen would be faster, but many kernels have it not.)
import koffi from 'koffi';
import { interfaceIndex, linkAddress, networkOrder } from '../dist/platform/packet-socket.js';

const { device, seconds, destinationMac, address, port, sources } = JSON.parse(process.argv[2]);
const frameBytes = 60;
/** struct mmsghdr, struct iovec of 64-bit machines. */
const messageBytes = 64;
const vectorBytes = 16;
const [AF_PACKET, SOCK_RAW, SOL_PACKET, PACKET_QDISC_BYPASS, etherTypeIp] = [17, 3, 263, 20, 0x0800];

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, void *address, unsigned int length)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, void *value, unsigned int length)');
const sendmmsg = libc.func('int sendmmsg(int fd, void *messages, unsigned int count, int flags)');

const fd = socket(AF_PACKET, SOCK_RAW, networkOrder(etherTypeIp));
setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, Uint8Array.of(1, 0, 0, 0), 4);
const there = linkAddress(interfaceIndex(device), etherTypeIp);
if (fd < 0 || bind(fd, there, there.length) !== 0) throw new Error(`${device}: no packet socket`);
const messages = messagesOf(sources.map(frameFrom));
let sent = 0;
for (const endMs = performance.now() + seconds * 1000; performance.now() < endMs; ) {
  const count = sendmmsg(fd, messages, sources.length, 0);
  if (count > 0) sent += count;
}
process.stdout.write(`${JSON.stringify({ sent })}\n`);

/** Memory that holds a list of messages, one frame each; it stays where it is until the process ends. */
function messagesOf(frames) {
  const frameMemory = koffi.alloc('uint8_t', frames.length * frameBytes);
  const vectorMemory = koffi.alloc('uint8_t', frames.length * vectorBytes);
  const messageMemory = koffi.alloc('uint8_t', frames.length * messageBytes);
  const bytes = new Uint8Array(koffi.view(frameMemory, frames.length * frameBytes));
  const vectors = new DataView(koffi.view(vectorMemory, frames.length * vectorBytes));
  const heads = new DataView(koffi.view(messageMemory, frames.length * messageBytes));
  for (const [i, frame] of frames.entries()) {
    bytes.set(frame, i * frameBytes);
    vectors.setBigUint64(i * vectorBytes, koffi.address(frameMemory) + BigInt(i * frameBytes), true);
    vectors.setBigUint64(i * vectorBytes + 8, BigInt(frameBytes), true);
    // msg_iov and msg_iovlen of the struct msghdr; no name, no control data.
    for (let at = 0; at < messageBytes; at += 8) heads.setBigUint64(i * messageBytes + at, 0n, true);
    heads.setBigUint64(i * messageBytes + 16, koffi.address(vectorMemory) + BigInt(i * vectorBytes), true);
    heads.setBigUint64(i * messageBytes + 24, 1n, true);
  }
  return messageMemory;
}

/** @param {number} source an IPv4 address */
function frameFrom(source) {
  const frame = new Uint8Array(frameBytes);
  const view = new DataView(frame.buffer);
  frame.set(destinationMac.split(':').map((each) => Number.parseInt(each, 16)));
  frame.set([0x02, 0, 0, 0, 0, 0x77], 6);
  view.setUint16(12, etherTypeIp);
  // RFC 791: version and length, 40 bytes in all, time to live, TCP.
  frame.set([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6], 14);
  view.setUint32(26, source);
  frame.set(address.split('.').map(Number), 30);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
  sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(24, ~(sum + (sum >>> 16)) & 0xffff);
  // RFC 9293: ports, offset, SYN, window.
  view.setUint16(34, 1024 + (source % 50_000));
  view.setUint16(36, port);
  frame.set([0x50, 0x02, 0xff, 0xff], 46);
  return frame;
}
