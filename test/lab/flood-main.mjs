// Attacks the control channel of a lab from the node it runs on.
//
//   capture PORT...       on the switch: prints datagrams of the control channel that came in at each port, a line of hexadecimal each
//   flood SECONDS RATE FILE GROUP ADDRESS...
//                         on a client: so many datagrams a second, made from those in FILE, to the group and each address by turns, every
//                         second one under the source address of a replica; prints how many were sent of each kind, and the rate reached
import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { bind, linux, receive, send, setsockopt, socket } from '../../dist/platform/libc.js';
import { interfaceAddress, interfaceIndex, linkAddress, networkOrder } from '../../dist/platform/packet-socket.js';

/** Numbers of <netinet/in.h>. */
const inet = { IPPROTO_IP: 0, IPPROTO_UDP: 17, IPPROTO_RAW: 255, IP_MULTICAST_IF: 32 };
/** ETH_P_ALL of packet(7): a bridge takes the frames of its ports before anything that asks for one protocol. */
const anyEtherType = 3;
const ethernetBytes = 14;
const ipBytes = 20;
const headerBytes = ipBytes + 8;
const controlPort = 7746;
const datagramsOfPort = 12;
const headBytes = 9;
const macBytes = 32;
/** Different datagrams of each kind to each target; sent over and over. */
const variants = 96;
/** What is sent before the clock is looked at again. */
const burst = 200;

const kinds = {
  random: () => randomBytes(randomInt(1, 1400)),
  truncated: (real) => real.subarray(0, randomInt(1, real.length)),
  replayed: (real) => real,
  flipped(real) {
    const flipped = Buffer.from(real);
    flipped[randomInt(real.length)] ^= 1 << randomInt(8);
    return flipped;
  },
  oversized: (real) => Buffer.concat([real, randomBytes(1472)]).subarray(0, randomInt(1401, 1473)),
  forged: (real) => Buffer.concat([real.subarray(0, -macBytes), randomBytes(macBytes)]),
  // The most work for whoever checks it.
  forgedLong: (real) => Buffer.concat([real.subarray(0, headBytes), randomBytes(1400 - headBytes)]),
};

function capture(ports) {
  for (const port of ports) {
    const fd = socket(linux.AF_PACKET, linux.SOCK_RAW, networkOrder(anyEtherType));
    bind(fd, linkAddress(interfaceIndex(port), anyEtherType));
    for (let left = datagramsOfPort; left > 0; ) {
      const frame = Buffer.alloc(2048);
      const packet = frame.subarray(ethernetBytes, receive(fd, frame, 0) ?? 0);
      if (packet[9] !== inet.IPPROTO_UDP || packet.readUInt16BE(ipBytes + 2) !== controlPort) continue;
      process.stdout.write(`${packet.subarray(headerBytes, packet.readUInt16BE(2)).toString('hex')}\n`);
      left--;
    }
  }
}

async function flood(seconds, rate, file, targets) {
  const packets = packetsOf(readFileSync(file, 'utf8').trim().split('\n'), interfaceAddress('eth0'), targets);
  const fd = socket(linux.AF_INET, linux.SOCK_RAW, inet.IPPROTO_RAW);
  setsockopt(fd, inet.IPPROTO_IP, inet.IP_MULTICAST_IF, addressBytes(interfaceAddress('eth0')));
  const sent = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, 0]));
  const begin = performance.now();
  const elapsed = () => performance.now() - begin;
  for (let count = 0; elapsed() < seconds * 1000; ) {
    const end = Math.min(count + burst, (elapsed() * rate) / 1000);
    for (; count < end; count++) {
      const { kind, to, packet } = packets[count % packets.length];
      send(fd, packet, to);
      sent[kind]++;
    }
    await (count < (elapsed() * rate) / 1000 ? turn() : delay(1));
  }
  const all = Object.values(sent).reduce((sum, each) => sum + each, 0);
  process.stdout.write(`${JSON.stringify({ perSecond: Math.round((all * 1000) / elapsed()), sent })}\n`);
}

/** The kind changes with every packet, then the source, then the target. */
function packetsOf(lines, own, targets) {
  const [, ...replicas] = targets;
  return Array.from({ length: variants }, (_, i) => Buffer.from(lines[i % lines.length], 'hex')).flatMap((real, i) =>
    targets.flatMap((target) =>
      [own, replicas[i % replicas.length]].flatMap((source) =>
        Object.entries(kinds).map(([kind, make]) => ({
          kind,
          to: socketAddress(target),
          packet: packetOf(source, target, make(real)),
        })),
      ),
    ),
  );
}

/** The kernel fills in the header's checksum and length (raw(7)); a datagram need not have a checksum of its own (RFC 768). */
function packetOf(source, target, payload) {
  const header = Buffer.alloc(headerBytes);
  header.set([0x45, 0, 0, 0, 0, 0, 0, 0, 1, inet.IPPROTO_UDP]);
  header.set(addressBytes(source), 12);
  header.set(addressBytes(target), 16);
  header.writeUInt16BE(controlPort, ipBytes);
  header.writeUInt16BE(controlPort, ipBytes + 2);
  header.writeUInt16BE(8 + payload.length, ipBytes + 4);
  return Buffer.concat([header, payload]);
}

/** struct sockaddr_in of ip(7), without a port. */
function socketAddress(address) {
  return Uint8Array.from([linux.AF_INET, 0, 0, 0, ...addressBytes(address), 0, 0, 0, 0, 0, 0, 0, 0]);
}

function addressBytes(address) {
  return Uint8Array.from(address.split('.').map(Number));
}

const [what, ...args] = process.argv.slice(2);
if (what === 'capture') capture(args);
else await flood(Number(args[0]), Number(args[1]), args[2], args.slice(3));
