import { type IpAddress, ipBytes, ipFromBytes } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import {
  type Credentials,
  type JoinExtension,
  type JoinFilters,
  readExtension,
  signatureBytes,
  signatureBytesOf,
  writeFilters,
  writeUnsigned,
} from './igmp-extension.ts';
import { internetChecksum, messageBytesMax, writeChecksum } from './igmp-packet.ts';

/**
 * A message of IGMP (RFC 3376, section 4), which is what stands in an IPv4 packet of protocol 2.
 *
 * | field of a query, type 0x11 | bytes | source |
 * |---|---|---|
 * | maximum response code, tenths of a second | 1 | RFC 3376, 4.1.1 |
 * | checksum | 2 | 4.1.2 |
 * | group, 0.0.0.0 of a general query | 4 | 4.1.3 |
 * | reserved 4 bits, S flag, robustness 3 bits | 1 | 4.1.5, 4.1.6 |
 * | query interval code, seconds | 1 | 4.1.7 |
 * | number of sources, sources | 2, each 4 | 4.1.8, 4.1.9 |
 *
 * A query of 8 bytes is of version 2, or of version 1 with a response code of 0 (7.1); another below 12 is refused.
 *
 * | field of a report, type 0x22 | bytes | source |
 * |---|---|---|
 * | reserved | 1 | RFC 3376, 4.2.1 |
 * | checksum | 2 | 4.2.2 |
 * | E flag, reserved 15 bits | 2 | RFC 9279, 3 |
 * | number of group records | 2 | 4.2.3 |
 * | record: type, length of auxiliary data, number of sources, group, sources | 1, 1, 2, 4, each 4 | 4.2.4 to 4.2.9 |
 * | extension, with the E flag | | RFC 9279, 3; igmp-extension.ts |
 *
 * A record with auxiliary data is refused: none is defined, and none may be sent (4.2.10). With the E flag there is one record.
 */
export type IgmpMessage = IgmpQuery | IgmpReport | OldReport;

export interface IgmpQuery {
  readonly kind: 'query';
  readonly version: 1 | 2 | 3;
  /** Null of a general query, which asks for all groups. */
  readonly group: IpAddress | null;
  readonly maxResponseMs: number;
  /** S flag: routers that hear the query leave their timers alone. */
  readonly suppress: boolean;
  /** 0 when the sender does not tell. */
  readonly robustness: number;
  /** The querier's interval; 0 when it does not tell. */
  readonly intervalMs: number;
  readonly sources: readonly IpAddress[];
}

export interface IgmpReport {
  readonly kind: 'report';
  readonly records: readonly MembershipRecord[];
  /** Null without the E flag. */
  readonly extension: JoinExtension | null;
}

export interface MembershipRecord {
  readonly type: RecordType;
  readonly group: IpAddress;
  readonly sources: readonly IpAddress[];
}

/** A report or leave of version 1 or 2 (RFC 2236, section 2.1): it can carry neither filters nor a signature. */
export interface OldReport {
  readonly kind: 'old-report';
  readonly type: 'v1-report' | 'v2-report' | 'v2-leave';
  readonly group: IpAddress;
}

/** Numbers of RFC 3376, section 4.2.12. */
const recordTypes = {
  'is-include': 1,
  'is-exclude': 2,
  'to-include': 3,
  'to-exclude': 4,
  allow: 5,
  block: 6,
} as const;
export type RecordType = keyof typeof recordTypes;
const recordTypeOf = new Map<number, RecordType>(
  Object.entries(recordTypes).map(([name, number]) => [number, name as RecordType]),
);

const queryType = 0x11;
const reportType = 0x22;
const oldTypes = new Map<number, OldReport['type']>([
  [0x12, 'v1-report'],
  [0x16, 'v2-report'],
  [0x17, 'v2-leave'],
]);
const oldBytes = 8;
const queryBytesMin = 12;
const checksumAt = 2;
const extensionFlag = 0x8000;
const suppressFlag = 0x08;
const robustnessMax = 7;
const recordBytesMin = 8;
/** More do not fit a packet. */
const sourcesMax = Math.floor((messageBytesMax - queryBytesMin) / 4);
const recordsMax = Math.floor((messageBytesMax - recordBytesMin) / recordBytesMin);

export function encodeQuery(query: Omit<IgmpQuery, 'kind' | 'version'>): Uint8Array {
  assert(query.group === null || query.group.family === 4, 'IGMP is for IPv4');
  const robustness = query.robustness > robustnessMax ? 0 : query.robustness;
  const writer = new Writer()
    .u8(queryType)
    .u8(codeOf(query.maxResponseMs / 100))
    .u16(0)
    .bytes(query.group ? ipBytes(query.group) : new Uint8Array(4))
    .u8((query.suppress ? suppressFlag : 0) | robustness)
    .u8(codeOf(query.intervalMs / 1000));
  writer.list(query.sources, (source) => writer.bytes(ipBytes(source)));
  return withChecksum(writer.finish());
}

/** A report of one record without sources; filters are for those who have no key. */
export function encodeReport(type: RecordType, group: IpAddress, filters: JoinFilters | null): Result<Uint8Array> {
  const writer = reportHead(type, group, filters !== null);
  if (filters) writeFilters(writer, filters);
  const message = withChecksum(writer.finish());
  return message.length <= messageBytesMax ? ok(message) : refuse(tooLong(message.length));
}

/** What the signature of a join covers, which is all of the message before it; refused when filters and certificate do not fit one packet. */
export function encodeUnsignedJoin(
  type: RecordType,
  group: IpAddress,
  filters: JoinFilters,
  credentials: Credentials,
): Result<Uint8Array> {
  const writer = reportHead(type, group, true);
  writeUnsigned(writer, filters, credentials);
  const unsigned = writer.finish();
  const length = unsigned.length + signatureBytesOf(credentials);
  return length <= messageBytesMax ? ok(unsigned) : refuse(tooLong(length));
}

/** A whole join to a public group, of one who has no key: it tells its epoch, which a plain report cannot. */
export function encodeKeylessJoin(
  type: RecordType,
  group: IpAddress,
  filters: JoinFilters,
  credentials: Omit<Credentials, 'certificate'>,
): Result<Uint8Array> {
  const unsigned = encodeUnsignedJoin(type, group, filters, { ...credentials, certificate: new Uint8Array() });
  return unsigned.ok ? ok(withChecksum(unsigned.value)) : unsigned;
}

/** The whole message. */
export function withSignature(unsigned: Uint8Array, signature: Uint8Array): Uint8Array {
  assert(signature.length === signatureBytes, `a signature has ${signatureBytes} bytes`);
  return withChecksum(new Writer().bytes(unsigned).bytes(signature).finish());
}

/** What the signature covers of a message that was decoded and has an authentication. */
export function signedPartOf(message: Uint8Array): Uint8Array {
  // A copy, also of a Buffer, whose slice is none.
  const signed = new Uint8Array(message.subarray(0, -signatureBytes));
  writeChecksum(signed, checksumAt, 0);
  return signed;
}

export function decodeIgmp(message: Uint8Array): Result<IgmpMessage> {
  if (message.length > messageBytesMax) return refuse(`message: more than ${messageBytesMax} bytes`);
  if (message.length < oldBytes) return refuse(`message: less than ${oldBytes} bytes`);
  if (internetChecksum(message) !== 0) return refuse('checksum: wrong');
  return decode(message, readMessage);
}

function readMessage(reader: Reader): IgmpMessage {
  const length = reader.remaining;
  const type = reader.u8('type');
  const code = reader.u8('code');
  reader.u16('checksum');
  if (type === queryType) return readQuery(reader, length, code);
  if (type === reportType) return readReport(reader);
  const old = oldTypes.get(type);
  if (!old) return reader.refuse(`type: ${type} is not known`);
  const group = ipFromBytes(reader.bytes(4, 'group'));
  ignoreRest(reader);
  return { kind: 'old-report', type: old, group };
}

function readQuery(reader: Reader, length: number, code: number): IgmpQuery {
  const address = ipFromBytes(reader.bytes(4, 'group'));
  const group = address.value === 0n ? null : address;
  if (length === oldBytes) {
    const old = { kind: 'query', group, suppress: false, robustness: 0, intervalMs: 0, sources: [] } as const;
    // A query of version 1 is answered within 10 s (RFC 3376, 7.2.1); a code of version 2 is no floating-point number.
    return code === 0
      ? { ...old, version: 1, maxResponseMs: 10_000 }
      : { ...old, version: 2, maxResponseMs: code * 100 };
  }
  if (length < queryBytesMin) return reader.refuse(`query: ${length} bytes`);
  const flags = reader.u8('flags');
  const intervalMs = valueOfCode(reader.u8('query interval')) * 1000;
  const sources = readSources(reader, reader.u16('sources'));
  ignoreRest(reader);
  return {
    kind: 'query',
    version: 3,
    group,
    maxResponseMs: valueOfCode(code) * 100,
    suppress: (flags & suppressFlag) !== 0,
    robustness: flags & robustnessMax,
    intervalMs,
    sources,
  };
}

function readReport(reader: Reader): IgmpReport {
  const isExtended = (reader.u16('flags') & extensionFlag) !== 0;
  const count = reader.u16('records');
  if (count > recordsMax) return reader.refuse(`records: ${count}, at most ${recordsMax}`);
  if (isExtended && count !== 1) return reader.refuse(`records: ${count}, an extended report has one`);
  const records = Array.from({ length: count }, () => readRecord(reader));
  if (isExtended) return { kind: 'report', records, extension: readExtension(reader) };
  ignoreRest(reader);
  return { kind: 'report', records, extension: null };
}

function readRecord(reader: Reader): MembershipRecord {
  const number = reader.u8('record type');
  const auxiliary = reader.u8('auxiliary data');
  const count = reader.u16('sources');
  const group = ipFromBytes(reader.bytes(4, 'group'));
  const type = recordTypeOf.get(number);
  if (!type) return reader.refuse(`record type: ${number} is not known`);
  if (auxiliary !== 0) return reader.refuse('auxiliary data: there is some, and none is defined');
  return { type, group, sources: readSources(reader, count) };
}

function readSources(reader: Reader, count: number): IpAddress[] {
  if (count > sourcesMax) return reader.refuse(`sources: ${count}, at most ${sourcesMax}`);
  if (count * 4 > reader.remaining) return reader.refuse(`sources: ${count}, ${reader.remaining} bytes left`);
  return Array.from({ length: count }, () => ipFromBytes(reader.bytes(4, 'source')));
}

/** Later versions may have more, which is ignored but counts in the checksum (RFC 3376, 4.1.10 and 4.2.11). */
function ignoreRest(reader: Reader): void {
  reader.bytes(reader.remaining, 'additional data');
}

function reportHead(type: RecordType, group: IpAddress, isExtended: boolean): Writer {
  assert(group.family === 4, 'IGMP is for IPv4');
  return new Writer()
    .u8(reportType)
    .u8(0)
    .u16(0)
    .u16(isExtended ? extensionFlag : 0)
    .u16(1)
    .u8(recordTypes[type])
    .u8(0)
    .u16(0)
    .bytes(ipBytes(group));
}

function withChecksum(message: Uint8Array): Uint8Array {
  writeChecksum(message, checksumAt, internetChecksum(message));
  return message;
}

function tooLong(length: number): string {
  return `the join has ${length} bytes, at most ${messageBytesMax} fit one packet: too many filters`;
}

/** 8 bits for numbers up to 31,744: exact below 128, above with 4 bits of mantissa (RFC 3376, 4.1.1); rounds down. */
function codeOf(value: number): number {
  const whole = Math.floor(value);
  if (whole < 128) return whole;
  const exponent = Math.min(7, Math.floor(Math.log2(whole)) - 7);
  return 0x80 | (exponent << 4) | (Math.min(31, whole >> (exponent + 3)) & 0xf);
}

function valueOfCode(code: number): number {
  return code < 128 ? code : ((code & 0xf) | 0x10) << (((code >> 4) & 7) + 3);
}
