import { type IpAddress, ipBytes, ipFromBytes, sameIp } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { type Reader, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import type { Filter } from '../space/filter.ts';
import { maskedAddressOf, type Partition, partitionOf, slotBitsMax, slotOf } from '../space/partition.ts';
import type { Field } from './field.ts';

/**
 * What a join of ours says beyond the plain one: TLVs after the group record (RFC 9279, section 3). Each is type u16, length u16 of what
 * follows, value; there is no padding. Types are those for experiments (RFC 9279, section 7); others are skipped.
 *
 * | field of filters, type 65535 | bytes | source |
 * |---|---|---|
 * | mask: the address bits that any filter looks at, at most 16 of them | 4 (IPv6: 16) | figure 7C, 760 and 770 |
 * | permit: count, then of each filter the bits of its value and of its mask at those places | 2, each 2 (4 above 8 bits) | figure 7C |
 * | prohibit: the same | 2, … | figure 7C |
 *
 * | field of authentication, type 65534 | bytes | source |
 * |---|---|---|
 * | requester address | 4 (16) | figure 5, field 2 |
 * | time, ms since 1970 | 8 | figure 5, field 1 |
 * | random key | 16 | figure 5, field 3 |
 * | epoch of the ledger that the filters follow, below 2^48 | 8 | |
 * | member's certificate, DER (RFC 5280, section 4) behind its length; empty of one who has no key | 2, … | |
 * | with a certificate: signature by the certificate's key: RSA-2048, PKCS#1 v1.5, SHA-256, over the message before it with a checksum of 0 | 256 | figure 5, field 4 |
 *
 * The authentication is the last: nothing that is not signed comes after it.
 */
export interface JoinExtension {
  /** Null when there is no such TLV. */
  readonly filters: JoinFilters | null;
  readonly authentication: Authentication | null;
}

/** Which clients the sender takes: those that a filter of `permit` accepts, and none of `prohibit`. */
export interface JoinFilters {
  readonly permit: readonly Filter[];
  readonly prohibit: readonly Filter[];
}

export interface Authentication extends Credentials {
  /** Empty without a certificate: then it proves nothing, and only says when and by which epoch. */
  readonly signature: Uint8Array;
}

/** What of the authentication is known before it is signed. */
export interface Credentials {
  readonly requester: IpAddress;
  /** Milliseconds since 1970. */
  readonly timeMs: number;
  readonly randomKey: Uint8Array;
  readonly epoch: number;
  /** DER; empty of one who has no key. */
  readonly certificate: Uint8Array;
}

export const signatureBytes = 256;
export const randomKeyBytes = 16;
/** Of either list. */
export const filtersMax = 512;

const filtersType = 65535;
const authenticationType = 65534;
const certificateBytesMax = 1200;
const addressBytes = 4;
/** What a ledger has, whose epoch has 48 bits. */
const epochMax = 2 ** 48 - 1;

/** An unsigned 64-bit number; refused where a JavaScript number is not exact. */
const u64: Field<number> = {
  read(reader: Reader, name: string): number {
    const high = reader.u16(name);
    const low = reader.u48(name);
    return high > 0x1f ? reader.refuse(`${name}: above 2^53`) : high * 2 ** 48 + low;
  },
  write(writer: Writer, value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'a number of 64 bits is exact');
    writer.u16(Math.floor(value / 2 ** 48)).u48(value % 2 ** 48);
  },
};

/** Both TLVs up to the signature, which is counted in the length of the second. */
export function writeUnsigned(writer: Writer, filters: JoinFilters, credentials: Credentials): void {
  assert(credentials.randomKey.length === randomKeyBytes, `a random key has ${randomKeyBytes} bytes`);
  assert(credentials.requester.family === 4, 'IGMP is for IPv4');
  assert(
    credentials.certificate.length <= certificateBytesMax,
    `a certificate has at most ${certificateBytesMax} bytes`,
  );
  writeFilters(writer, filters);
  const value = new Writer().bytes(ipBytes(credentials.requester));
  u64.write(value, credentials.timeMs);
  value.bytes(credentials.randomKey);
  u64.write(value, credentials.epoch);
  const encoded = value.u16(credentials.certificate.length).bytes(credentials.certificate).finish();
  writer
    .u16(authenticationType)
    .u16(encoded.length + signatureBytesOf(credentials))
    .bytes(encoded);
}

/** How many bytes of signature follow: none of one who has no key. */
export function signatureBytesOf({ certificate }: Credentials): number {
  return certificate.length === 0 ? 0 : signatureBytes;
}

/** The filters alone, as one who has no key says them to a public group. */
export function writeFilters(writer: Writer, { permit, prohibit }: JoinFilters): void {
  const looked = [...permit, ...prohibit].reduce((bits, { mask }) => bits | mask.value, 0n);
  const partition = bitsUnder({ family: 4, value: looked });
  assert(partition.ok, `filters look at ${slotBitsMax} bits at most`);
  const filter = filterField(partition.value);
  const value = new Writer().bytes(ipBytes(partition.value.mask));
  for (const list of [permit, prohibit]) value.list(list, (each) => filter.write(value, each));
  const encoded = value.finish();
  writer.u16(filtersType).u16(encoded.length).bytes(encoded);
}

/** All TLVs that are left. */
export function readExtension(reader: Reader): JoinExtension {
  let filters: JoinFilters | null = null;
  let count = 0;
  for (; reader.remaining > 0; count++) {
    const type = reader.u16('type of extension');
    const length = reader.u16('length of extension');
    if (length > reader.remaining) return reader.refuse(`extension ${type}: ${length} bytes, ${reader.remaining} left`);
    if (type === authenticationType) {
      if (length !== reader.remaining) return reader.refuse('authentication: something comes after it');
      return { filters, authentication: readAuthentication(reader) };
    }
    if (type === filtersType) {
      if (filters) return reader.refuse('filters: they come twice');
      filters = readFilters(reader, length);
    } else {
      reader.bytes(length, `extension ${type}`);
    }
  }
  // RFC 9279, section 3: at least one.
  return count === 0 ? reader.refuse('extension: none, but the E flag is set') : { filters, authentication: null };
}

function readFilters(reader: Reader, length: number): JoinFilters {
  const left = reader.remaining - length;
  const partition = bitsUnder(ipFromBytes(reader.bytes(addressBytes, 'mask of filters')));
  if (!partition.ok) return reader.refuse(`filters: ${partition.reason}`);
  const filter = filterField(partition.value);
  const list = (name: string): Filter[] =>
    reader.list(filtersMax, name, (index) => filter.read(reader, `${name}[${index}]`));
  const filters = { permit: list('permit'), prohibit: list('prohibit') };
  return reader.remaining === left ? filters : reader.refuse(`filters: not ${length} bytes long, as they say`);
}

/** Joins that come one after the other mostly have one mask, and to find its bits takes longer than all else that is read. */
let newest: { readonly mask: IpAddress; readonly partition: Result<Partition> } | null = null;

function bitsUnder(mask: IpAddress): Result<Partition> {
  if (!newest || !sameIp(newest.mask, mask)) newest = { mask, partition: partitionOf(mask) };
  return newest.partition;
}

/** A filter is a pair of numbers of as many bits as the partition has; see `slotOf`. */
function filterField(partition: Partition): Field<Filter> {
  const [read, write] =
    partition.bits.length <= 8
      ? [(reader: Reader, name: string) => reader.u8(name), (writer: Writer, value: number) => writer.u8(value)]
      : [(reader: Reader, name: string) => reader.u16(name), (writer: Writer, value: number) => writer.u16(value)];
  return {
    read(reader: Reader, name: string): Filter {
      const value = read(reader, name);
      const care = read(reader, name);
      if (care >= partition.slotCount) return reader.refuse(`${name}: looks at a bit that is not in the mask`);
      if (value & ~care) return reader.refuse(`${name}: wants a bit that it does not look at`);
      return { value: maskedAddressOf(partition, value), mask: maskedAddressOf(partition, care) };
    },
    write(writer: Writer, { value, mask }: Filter): void {
      assert((value.value & ~mask.value) === 0n, 'a filter wants no bit that it does not look at');
      write(writer, slotOf(partition, value));
      write(writer, slotOf(partition, mask));
    },
  };
}

function readAuthentication(reader: Reader): Authentication {
  const requester = ipFromBytes(reader.bytes(addressBytes, 'requester'));
  const timeMs = u64.read(reader, 'time');
  const randomKey = reader.bytes(randomKeyBytes, 'random key');
  const epoch = u64.read(reader, 'epoch');
  if (epoch > epochMax) reader.refuse(`epoch: ${epoch}, at most ${epochMax}`);
  const length = reader.u16('certificate');
  if (length > certificateBytesMax) {
    return reader.refuse(`certificate: ${length} bytes, at most ${certificateBytesMax}`);
  }
  const certificate = reader.bytes(length, 'certificate');
  const credentials = { requester, timeMs, randomKey, epoch, certificate };
  return { ...credentials, signature: reader.bytes(signatureBytesOf(credentials), 'signature') };
}
