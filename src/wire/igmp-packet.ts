import { addressOf, type IpAddress, ipBytes, ipFromBytes, isMulticast } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import { ok, type Result, refuse } from '../base/result.ts';

/** Every host of a link is of this group: general queries go there (RFC 3376, section 4.1.12). */
export const allHosts = addressOf('224.0.0.1');
/** Where reports of version 3 go (RFC 3376, section 4.2.14). */
export const allRouters = addressOf('224.0.0.22');

/**
 * The IPv4 packet around an IGMP message (RFC 3376, section 4).
 *
 * | field | value | source |
 * |---|---|---|
 * | type of service | 0xc0, internetwork control | RFC 3376, 4 |
 * | time to live | 1; another is refused: it came through a router | RFC 3376, 4 |
 * | protocol | 2 | RFC 3376, 4 |
 * | option | router alert, 4 bytes; not asked of what others send | RFC 2113, 2.1 |
 * | destination | a multicast address: no report is for one host alone | RFC 3376, 4.1.12, 4.2.14 |
 */
export interface IgmpPacket {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly message: Uint8Array;
}

/** Fits every link of 1,500 bytes: joins are never fragmented. */
export const packetBytesMax = 1500;
export const igmpProtocol = 2;

const timeToLive = 1;
const typeOfService = 0xc0;
const routerAlert = Uint8Array.of(0x94, 0x04, 0x00, 0x00);
const headerBytes = 20 + routerAlert.length;
const headerBytesMin = 20;
const fragmentBits = 0x3fff;

/** What is left for the message. */
export const messageBytesMax = packetBytesMax - headerBytes;

export function encodeIgmpPacket({ source, destination, message }: IgmpPacket): Uint8Array {
  assert(source.family === 4 && destination.family === 4, 'IGMP is for IPv4');
  assert(message.length <= messageBytesMax, `a message has at most ${messageBytesMax} bytes`);
  const packet = new Writer()
    .u8(0x40 | (headerBytes / 4))
    .u8(typeOfService)
    .u16(headerBytes + message.length)
    .u32(0)
    .u8(timeToLive)
    .u8(igmpProtocol)
    .u16(0)
    .bytes(ipBytes(source))
    .bytes(ipBytes(destination))
    .bytes(routerAlert)
    .bytes(message)
    .finish();
  writeChecksum(packet, 10, internetChecksum(packet.subarray(0, headerBytes)));
  return packet;
}

/** Bytes after the packet are padding of the link and ignored. The message is a view of the packet. */
export function decodeIgmpPacket(packet: Uint8Array): Result<IgmpPacket> {
  if (packet.length > packetBytesMax) return refuse(`packet: more than ${packetBytesMax} bytes`);
  const length = (packet[2] ?? 0) * 256 + (packet[3] ?? 0);
  if (length > packet.length) return refuse(`total length: ${length} bytes, ${packet.length} are there`);
  const header = ((packet[0] ?? 0) & 0xf) * 4;
  if (header < headerBytesMin) return refuse(`header length: ${header} bytes, at least ${headerBytesMin}`);
  if (header > length) return refuse(`header length: ${header} bytes of ${length}`);
  const addresses = decode(packet.subarray(0, header), readHeader);
  return addresses.ok ? ok({ ...addresses.value, message: packet.subarray(header, length) }) : addresses;
}

/** RFC 1071; an odd byte at the end counts as the high half of a word. Over bytes that hold their own checksum it is 0. */
export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  const even = bytes.length & ~1;
  for (let i = 0; i < even; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  if (even < bytes.length) sum += (bytes[even] ?? 0) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function writeChecksum(bytes: Uint8Array, at: number, checksum: number): void {
  bytes[at] = checksum >> 8;
  bytes[at + 1] = checksum & 0xff;
}

function readHeader(reader: Reader): Omit<IgmpPacket, 'message'> {
  const version = reader.u8('version') >> 4;
  if (version !== 4) return reader.refuse(`version: ${version}, only 4 is known`);
  reader.u8('type of service');
  reader.u16('total length');
  reader.u16('identification');
  if (reader.u16('fragment') & fragmentBits) return reader.refuse('fragment: a join is never fragmented');
  const ttl = reader.u8('time to live');
  if (ttl !== timeToLive) return reader.refuse(`time to live: ${ttl}, only ${timeToLive} is of this link`);
  const protocol = reader.u8('protocol');
  if (protocol !== igmpProtocol) return reader.refuse(`protocol: ${protocol}, only ${igmpProtocol} is known`);
  reader.u16('checksum');
  const source = ipFromBytes(reader.bytes(4, 'source'));
  const destination = ipFromBytes(reader.bytes(4, 'destination'));
  if (!isMulticast(destination)) return reader.refuse('destination: not a multicast address');
  reader.bytes(reader.remaining, 'options');
  return { source, destination };
}
