import { type IpAddress, ipBytes, ipFromBytes } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import { type MacAddress, macBytes, macFromBytes } from '../base/mac.ts';
import { type Result, refuse } from '../base/result.ts';

/** RFC 826 for IPv4 over Ethernet, with the Ethernet header around it. */
export interface ArpPacket {
  readonly ethernetSource: MacAddress;
  readonly ethernetDestination: MacAddress;
  readonly operation: 'request' | 'reply';
  readonly senderMac: MacAddress;
  readonly senderIp: IpAddress;
  /** All zeros in a usual request. */
  readonly targetMac: MacAddress;
  readonly targetIp: IpAddress;
}

export const arpEtherType = 0x0806;

const frameBytesMin = 60;
const frameBytesMax = 1514;
const packetBytes = 14 + 28;
const operations = { request: 1, reply: 2 } as const;

/** The fields that have one value only: hardware type Ethernet, protocol IPv4, their address lengths. */
const fixed = { hardwareType: 1, protocolType: 0x0800, hardwareLength: 6, protocolLength: 4 } as const;

/** A whole frame without its checksum, padded to 60 bytes. */
export function encodeArp(packet: ArpPacket): Uint8Array {
  assert(packet.senderIp.family === 4 && packet.targetIp.family === 4, 'ARP is for IPv4');
  const encoded = new Writer()
    .bytes(macBytes(packet.ethernetDestination))
    .bytes(macBytes(packet.ethernetSource))
    .u16(arpEtherType)
    .u16(fixed.hardwareType)
    .u16(fixed.protocolType)
    .u8(fixed.hardwareLength)
    .u8(fixed.protocolLength)
    .u16(operations[packet.operation])
    .bytes(macBytes(packet.senderMac))
    .bytes(ipBytes(packet.senderIp))
    .bytes(macBytes(packet.targetMac))
    .bytes(ipBytes(packet.targetIp))
    .finish();
  const frame = new Uint8Array(frameBytesMin);
  frame.set(encoded);
  return frame;
}

/** A whole frame; bytes after the packet are padding and ignored. */
export function decodeArp(frame: Uint8Array): Result<ArpPacket> {
  if (frame.length > frameBytesMax) return refuse(`frame: more than ${frameBytesMax} bytes`);
  return decode(frame.subarray(0, packetBytes), readArp);
}

function readArp(reader: Reader): ArpPacket {
  const ethernetDestination = macFromBytes(reader.bytes(6, 'ethernet destination'));
  const ethernetSource = macFromBytes(reader.bytes(6, 'ethernet source'));
  expectValue(reader, 'ether type', reader.u16('ether type'), arpEtherType);
  expectValue(reader, 'hardware type', reader.u16('hardware type'), fixed.hardwareType);
  expectValue(reader, 'protocol type', reader.u16('protocol type'), fixed.protocolType);
  expectValue(reader, 'hardware length', reader.u8('hardware length'), fixed.hardwareLength);
  expectValue(reader, 'protocol length', reader.u8('protocol length'), fixed.protocolLength);
  const operation = reader.u16('operation');
  if (operation !== operations.request && operation !== operations.reply) {
    return reader.refuse(`operation: ${operation} is neither request nor reply`);
  }
  return {
    ethernetSource,
    ethernetDestination,
    operation: operation === operations.request ? 'request' : 'reply',
    senderMac: macFromBytes(reader.bytes(6, 'sender link address')),
    senderIp: ipFromBytes(reader.bytes(4, 'sender address')),
    targetMac: macFromBytes(reader.bytes(6, 'target link address')),
    targetIp: ipFromBytes(reader.bytes(4, 'target address')),
  };
}

function expectValue(reader: Reader, field: string, value: number, expected: number): void {
  if (value !== expected) reader.refuse(`${field}: ${value}, only ${expected} is known`);
}
