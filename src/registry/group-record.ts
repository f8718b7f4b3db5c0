import { formatIp, type IpAddress, isMulticast, parseIp, sameIp } from '../base/address.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { certificateFingerprint, certificatePem } from '../identity/certificate-bytes.ts';
import { revokedMax } from '../identity/revocation-list.ts';
import type { DnsRecord } from '../wire/dns.ts';
import { readCertificateData, readTextData, recordType, textData } from '../wire/dns-data.ts';

/** What the world is told about a group (figure 4): the same for its name and for the reverse name of its address. */
export interface GroupRecord {
  readonly address: IpAddress;
  /** Full domain name, without a dot at its end. */
  readonly name: string;
  readonly owner: string;
  readonly isPublic: boolean;
  /** PEM; two certificates while the authority is changed, none for a public group without keys. */
  readonly authorityCertificate: string;
  /** Hexadecimal, lower case. */
  readonly revokedSerials: ReadonlySet<string>;
}

/** The first string of the TXT record; others of the same name are none of ours. */
const version = 'v=manycast1';
const authoritiesMax = 2;
/** With its key a string of at most 255 bytes, also of the longest serials. */
const serialsOfString = 6;

/** The group but for the certificates, each of which it names by its fingerprint, so that the two records cannot be of different states. */
export interface GroupText extends Omit<GroupRecord, 'authorityCertificate'> {
  /** SHA-256 in hexadecimal, lower case. */
  readonly authorities: readonly string[];
}

/** Data of the TXT record: `key=value` strings, the version first. */
export function groupTextData({ name, address, owner, isPublic, authorities, revokedSerials }: GroupText): Uint8Array {
  const serials = [...revokedSerials];
  const revoked = Array.from({ length: Math.ceil(serials.length / serialsOfString) }, (_, i) =>
    serials.slice(i * serialsOfString, (i + 1) * serialsOfString).join(','),
  );
  return textData([
    ...[version, `name=${name}`, `address=${formatIp(address)}`, `owner=${owner}`],
    `access=${isPublic ? 'public' : 'private'}`,
    ...authorities.map((each) => `authority=${each}`),
    ...revoked.map((each) => `revoked=${each}`),
  ]);
}

/** Null for a TXT record that is not of this program. Unknown keys are for later versions. */
export function readGroupText(data: Uint8Array): Result<GroupText> | null {
  const strings = readTextData(data);
  if (!strings.ok || strings.value[0] !== version) return null;
  const values = (key: string): string[] =>
    strings.value.flatMap((each) => (each.startsWith(`${key}=`) ? [each.slice(key.length + 1)] : []));
  for (const key of ['name', 'address', 'owner', 'access']) {
    if (values(key).length !== 1) return refuse(`TXT: ${key} is there ${values(key).length} times`);
  }
  const [name = ''] = values('name');
  const [owner = ''] = values('owner');
  const [access = ''] = values('access');
  const address = parseIp(values('address')[0] ?? '');
  if (!address.ok) return address;
  if (!isMulticast(address.value)) return refuse('TXT: its address is none of a group');
  // Anything but the word is private.
  const isPublic = access === 'public';
  const authorities = values('authority');
  if (authorities.length > authoritiesMax || !authorities.every((each) => /^[0-9a-f]{64}$/.test(each))) {
    return refuse('TXT: its authorities are not as they should be');
  }
  const revoked = values('revoked').flatMap((each) => each.split(','));
  if (revoked.length > revokedMax || !revoked.every((each) => /^[0-9a-f]{2,40}$/.test(each))) {
    return refuse('TXT: its revoked serials are not as they should be');
  }
  return ok({ name, owner, address: address.value, isPublic, authorities, revokedSerials: new Set(revoked) });
}

/**
 * The group that answers to questions for its TXT, CERT and A records tell of, whatever was asked: its name or the reverse name of its
 * address. Refused unless they agree. Whether the answers are to be believed is for the caller to know.
 */
export function groupRecordOf(records: readonly DnsRecord[]): Result<GroupRecord> {
  const texts = records.flatMap(({ type, data }) => (type === recordType.TXT ? (readGroupText(data) ?? []) : []));
  const [text] = texts;
  if (!text || texts.length > 1) return refuse(text ? 'it has several TXT records of groups' : 'it is no group');
  if (!text.ok) return text;
  const { authorities, ...told } = text.value;
  const addresses = records.filter(({ type }) => type === recordType.A);
  const stated = addresses.map(({ data }) => parseIp([...data].join('.')));
  if (!stated.every((each) => each.ok && sameIp(each.value, told.address))) {
    return refuse('its TXT and A records tell different addresses');
  }
  const certificates = new Map<string, Uint8Array>();
  for (const { type, data } of records) {
    const der = type === recordType.CERT ? readCertificateData(data) : null;
    // Certificates of other kinds may stand beside.
    if (der?.ok) certificates.set(certificateFingerprint(der.value), der.value);
  }
  const named = authorities.map((each) => certificates.get(each));
  if (named.some((der) => der === undefined))
    return refuse('it has no CERT record for an authority that its TXT names');
  const authorityCertificate = named.map((der) => (der ? certificatePem(der) : '')).join('');
  return ok({ ...told, authorityCertificate });
}
