import type { IpAddress } from '../base/address.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { encodeUnsignedJoin, type RecordType, signedPartOf, withSignature } from '../wire/igmp.ts';
import type { Credentials, JoinFilters } from '../wire/igmp-extension.ts';
import { authorityOf, type CertificateNames, type Member, memberOf } from './member-name.ts';

/** What a certificate says, as it is read outside: the rules of this folder do no cryptography. */
interface Certificate {
  readonly names: CertificateNames;
  /** Both instants are within its life. Milliseconds since 1970. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** The certificate of an authority, which has signed itself. */
export interface AuthorityCertificate extends Certificate {
  /** A certificate as DER; refused when it is damaged, not signed by this authority, an authority itself, or of a key that signs no joins. */
  readMember(certificate: Uint8Array): Result<MemberCertificate>;
}

/** The certificate of a member, signed by the authority that read it. */
export interface MemberCertificate extends Certificate {
  /** Hexadecimal. */
  readonly serial: string;
  /** Whether its key has made `signature` over `signed`: RSA, PKCS#1 v1.5, SHA-256. */
  hasSigned(signed: Uint8Array, signature: Uint8Array): boolean;
}

/** A join before its authentication. */
export interface Join {
  readonly type: RecordType;
  readonly group: IpAddress;
  readonly filters: JoinFilters;
}

/** The IGMP message; refused when filters and certificate do not fit one packet. */
export async function signedJoin(
  { type, group, filters }: Join,
  credentials: Credentials,
  sign: (bytes: Uint8Array) => Promise<Uint8Array>,
): Promise<Result<Uint8Array>> {
  const unsigned = encodeUnsignedJoin(type, group, filters, credentials);
  return unsigned.ok ? ok(withSignature(unsigned.value, await sign(unsigned.value))) : unsigned;
}

/** Whether the key of `certificate` has signed an IGMP message that was decoded, and has an authentication. */
export function isSignedBy(certificate: MemberCertificate, message: Uint8Array, signature: Uint8Array): boolean {
  return certificate.hasSigned(signedPartOf(message), signature);
}

/** Why an authority speaks for no member of `cluster` at `nowMs` (since 1970); null when it does. */
export function objectionToAuthority(
  certificate: AuthorityCertificate,
  { cluster, nowMs }: { readonly cluster: string; readonly nowMs: number },
): string | null {
  const named = authorityOf(certificate.names);
  if (!named.ok) return named.reason;
  if (named.value !== cluster) return `it is the authority of "${named.value}", not of "${cluster}"`;
  return isInForce(certificate, nowMs) ? null : 'the certificate of the authority is not in force';
}

/** Who joins, if that is a member of `cluster` at `nowMs` (since 1970) whose certificate was not revoked. */
export function joiningMember(
  certificate: MemberCertificate,
  rules: { readonly cluster: string; readonly nowMs: number; readonly revokedSerials: ReadonlySet<string> },
): Result<Member> {
  const member = memberOf(certificate.names);
  if (!member.ok) return member;
  if (member.value.cluster !== rules.cluster) {
    return refuse(`it is for a member of "${member.value.cluster}", not of "${rules.cluster}"`);
  }
  if (!isInForce(certificate, rules.nowMs)) return refuse('it is not in force');
  return isRevoked(certificate.serial, rules.revokedSerials) ? refuse('it is revoked') : member;
}

function isInForce({ notBeforeMs, notAfterMs }: Certificate, nowMs: number): boolean {
  return nowMs >= notBeforeMs && nowMs <= notAfterMs;
}

/** Whether a serial, hexadecimal, is among those of the authority's list. A list is read once: it does not change. */
export function isRevoked(serial: string, revokedSerials: ReadonlySet<string>): boolean {
  let canonical = canonicalSets.get(revokedSerials);
  if (!canonical) {
    canonical = new Set([...revokedSerials].map(canonicalSerial));
    canonicalSets.set(revokedSerials, canonical);
  }
  return canonical.has(canonicalSerial(serial));
}

const canonicalSets = new WeakMap<ReadonlySet<string>, ReadonlySet<string>>();

/** Programs differ in case, colons and leading zeros. */
function canonicalSerial(serial: string): string {
  return serial.replaceAll(':', '').toLowerCase().replace(/^0+/, '');
}
