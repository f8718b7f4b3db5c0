import { formatIp } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import type { Result } from '../base/result.ts';
import type { DnsRecord } from '../wire/dns.ts';
import { readAddressData, readCertificateData, readNameData, readStartData, recordType } from '../wire/dns-data.ts';
import type { Zone } from './zone.ts';

const lineCharacters = 64;

/** A zone as BIND, Knot and NSD read it (RFC 1035, section 5). */
export function zoneText({ origin, records }: Zone): string {
  const lines = records.map((record) => `${record.name}. ${record.ttl} IN ${dataText(record)}`);
  return [`; zone ${origin}, written by manycast registry export`, ...lines, ''].join('\n');
}

function dataText({ type, data }: DnsRecord): string {
  switch (type) {
    case recordType.A:
      return `A ${formatIp(own(readAddressData(data)))}`;
    case recordType.NS:
      return `NS ${own(readNameData(data))}.`;
    case recordType.PTR:
      return `PTR ${own(readNameData(data))}.`;
    case recordType.SOA: {
      const { server, contact, ...numbers } = own(readStartData(data));
      return `SOA ${server}. ${contact}. ${Object.values(numbers).join(' ')}`;
    }
    case recordType.TXT:
      return `TXT ${inLines(stringsOf(data).map(quoted))}`;
    case recordType.CERT: {
      const text = btoa(String.fromCharCode(...own(readCertificateData(data))));
      return `CERT 1 0 0 ${inLines(text.match(new RegExp(`.{1,${lineCharacters}}`, 'g')) ?? [])}`;
    }
    default:
      assert(false, `records of type ${type} are none of a zone`);
      return '';
  }
}

/** Parentheses hold what is on several lines together. */
function inLines(parts: readonly string[]): string {
  return parts.length === 1 ? (parts[0] ?? '') : `(\n${parts.map((part) => `\t${part}\n`).join('')})`;
}

function stringsOf(data: Uint8Array): Uint8Array[] {
  const strings: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += 1 + (data[at] ?? 0)) {
    strings.push(data.subarray(at + 1, at + 1 + (data[at] ?? 0)));
  }
  return strings;
}

/** Bytes that are no printable ASCII as \DDD. */
function quoted(bytes: Uint8Array): string {
  const text = [...bytes].map((byte) => {
    const character = String.fromCharCode(byte);
    if (character === '"' || character === '\\') return `\\${character}`;
    return byte >= 0x20 && byte < 0x7f ? character : `\\${byte.toString().padStart(3, '0')}`;
  });
  return `"${text.join('')}"`;
}

/** Of data that this program has written. */
function own<T>(read: Result<T>): T {
  assert(read.ok, 'a zone holds data that can be read');
  return read.value;
}
