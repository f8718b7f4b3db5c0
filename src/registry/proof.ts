import { formatIp, type IpAddress, sameIp } from '../base/address.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { certificateDer, certificateFingerprint } from '../identity/certificate-bytes.ts';
import type { DnsRecord } from '../wire/dns.ts';
import { readNameData, recordType } from '../wire/dns-data.ts';
import { foldName } from '../wire/dns-name.ts';
import { type GroupRecord, groupRecordOf } from './group-record.ts';

/** What was answered about a group, and why it might be believed. */
export interface Testimony {
  readonly address: IpAddress;
  readonly records: readonly DnsRecord[];
  /** A resolver that is trusted has verified all of it by DNSSEC. */
  readonly isAuthenticated: boolean;
  /** SHA-256 of the certificates that the group's authority may have, in hexadecimal, lower case; empty when none are configured. */
  readonly pins: readonly string[];
}

/**
 * The group, when it is proven: by DNSSEC, or by a pinned authority, and by both where there are both. A pinned group is private whatever is
 * answered, and its authorities are the pinned ones alone.
 */
export function provenGroup({ address, records, isAuthenticated, pins }: Testimony): Result<GroupRecord> {
  const group = groupRecordOf(records);
  if (!group.ok) return group;
  const { isPublic, authorityCertificate } = group.value;
  if (!sameIp(group.value.address, address)) return refuse(`it is told of ${formatIp(group.value.address)}`);
  if (pins.length === 0) {
    if (!isAuthenticated) return refuse('the answer is not signed, and no fingerprint is configured');
    if (!isPublic && authorityCertificate === '') return refuse('it is private and has no authority');
    return group;
  }
  if (isPublic) return refuse('it is told to be public, and a fingerprint is configured');
  const pinned = certificatesOf(authorityCertificate).filter((pem) =>
    pins.includes(certificateFingerprint(certificateDer(pem))),
  );
  if (pinned.length === 0) return refuse('its authority is not the one whose fingerprint is configured');
  return ok({ ...group.value, authorityCertificate: pinned.join('') });
}

/** The records of a type that answer for a name, aliases followed as far as they are in the answer (RFC 2317 puts them into reverse zones). */
export function answersFor(
  records: readonly DnsRecord[],
  { name, type }: { readonly name: string; readonly type: number },
): DnsRecord[] {
  const seen = new Set<string>();
  for (let owner = foldName(name); !seen.has(owner); ) {
    seen.add(owner);
    const own = records.filter((record) => foldName(record.name) === owner);
    const wanted = own.filter((record) => record.type === type);
    const [alias] = own.flatMap(({ type: each, data }) => (each === recordType.CNAME ? [readNameData(data)] : []));
    if (wanted.length > 0 || !alias?.ok) return wanted;
    owner = foldName(alias.value);
  }
  return [];
}

function certificatesOf(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----\n/g) ?? [];
}
