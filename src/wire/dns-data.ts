import { type IpAddress, ipBytes, ipFromBytes } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { nameAt, nameBytes } from './dns-name.ts';

export const recordType = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  TXT: 16,
  /** RFC 4398. */
  CERT: 37,
  OPT: 41,
  TKEY: 249,
  IXFR: 251,
  AXFR: 252,
  MAILA: 254,
  ANY: 255,
} as const;

/** Of RFC 1035, section 3.3.13; times in seconds. */
export interface StartOfAuthority {
  readonly server: string;
  /** Of the mailbox of whoever is responsible, as a name. */
  readonly contact: string;
  readonly serial: number;
  readonly refresh: number;
  readonly retry: number;
  readonly expire: number;
  /** How long it is remembered that something is not there (RFC 2308). */
  readonly minimum: number;
}

const stringBytesMax = 255;
/** RFC 4398, section 2.1: an X.509 certificate of the PKIX profile. */
const certificatePkix = 1;
/** Of the answers that are read: more than any certificate of this program. */
const certificateBytesMax = 8192;

export function addressData(address: IpAddress): Uint8Array {
  assert(address.family === 4, 'an A record holds an IPv4 address');
  return ipBytes(address);
}

export function readAddressData(data: Uint8Array): Result<IpAddress> {
  return decode(data, (reader) => ipFromBytes(reader.bytes(4, 'address')));
}

export function nameData(name: string): Uint8Array {
  return nameBytes(name);
}

export function readNameData(data: Uint8Array): Result<string> {
  return decode(data, (reader) => readName(reader, data));
}

/** Of text in UTF-8, each string at most 255 bytes. */
export function textData(strings: readonly string[]): Uint8Array {
  const writer = new Writer();
  for (const text of strings) {
    const bytes = new TextEncoder().encode(text);
    assert(bytes.length <= stringBytesMax, `a string has at most ${stringBytesMax} bytes`);
    writer.u8(bytes.length).bytes(bytes);
  }
  return writer.finish();
}

export function readTextData(data: Uint8Array): Result<string[]> {
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return decode(data, (reader) => {
    const strings: string[] = [];
    while (reader.remaining > 0) {
      const bytes = reader.bytes(reader.u8('length of string'), 'string');
      try {
        strings.push(utf8.decode(bytes));
      } catch {
        reader.refuse('string: not UTF-8');
      }
    }
    return strings;
  });
}

/** Key tag and algorithm are 0: they are of keys of DNSSEC, and whoever looks for one certificate has no use for them (RFC 4398, section 2). */
export function certificateData(der: Uint8Array): Uint8Array {
  return new Writer().u16(certificatePkix).u16(0).u8(0).bytes(der).finish();
}

/** DER of the certificate. */
export function readCertificateData(data: Uint8Array): Result<Uint8Array> {
  return decode(data, (reader) => {
    const kind = reader.u16('type of certificate');
    if (kind !== certificatePkix) reader.refuse(`type of certificate: ${kind}, not PKIX`);
    reader.bytes(3, 'key tag and algorithm');
    if (reader.remaining > certificateBytesMax) reader.refuse(`certificate: ${reader.remaining} bytes`);
    return reader.bytes(reader.remaining, 'certificate');
  });
}

export function startData(start: StartOfAuthority): Uint8Array {
  const { server, contact, serial, refresh, retry, expire, minimum } = start;
  const writer = new Writer().bytes(nameBytes(server)).bytes(nameBytes(contact));
  for (const each of [serial, refresh, retry, expire, minimum]) writer.u32(each);
  return writer.finish();
}

export function readStartData(data: Uint8Array): Result<StartOfAuthority> {
  return decode(data, (reader) => ({
    server: readName(reader, data),
    contact: readName(reader, data),
    serial: reader.u32('serial'),
    refresh: reader.u32('refresh'),
    retry: reader.u32('retry'),
    expire: reader.u32('expire'),
    minimum: reader.u32('minimum'),
  }));
}

/** Names in decoded data are whole. */
function readName(reader: Reader, data: Uint8Array): string {
  const start = data.length - reader.remaining;
  const read = nameAt(data, start);
  if ('complaint' in read) return reader.refuse(`name: ${read.complaint}`);
  reader.bytes(read.end - start, 'name');
  return read.name;
}
