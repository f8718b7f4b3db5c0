import forge from 'node-forge';
import { ok, type Result, refuse } from '../base/result.ts';

const { asn1, pki } = forge;
type Asn1 = forge.asn1.Asn1;

const sha256WithRsa = '1.2.840.113549.1.1.11';
const listNumberExtension = '2.5.29.20';
const authorityKeyExtension = '2.5.29.35';
/** More are refused: it bounds what a file that is no list can cost. */
export const revokedMax = 1024;

/** A certificate that is not to be believed any more. */
export interface Revocation {
  /** Hexadecimal, lower case, as `showSerial` of a certificate. */
  readonly serial: string;
  /** Whole seconds count. */
  readonly at: Date;
}

/** What a list says, and what must be checked before it is believed: `signature` over `signed`, by the authority's key. */
export interface RevocationList {
  /** RSASSA-PKCS1-v1_5 with SHA-256. */
  readonly signature: Uint8Array;
  readonly signed: Uint8Array;
  /** Serials, hexadecimal and lower case. */
  readonly serials: ReadonlySet<string>;
}

/**
 * PEM of an X.509 certificate revocation list (RFC 5280, section 5). It is good until the authority's own end: a list that ran out would
 * shut out every member of a cluster that nobody has touched for a while.
 */
export function revocationList(list: {
  /** PEM; the key is PKCS#8, not encrypted. */
  readonly authority: { readonly certificate: string; readonly privateKey: string };
  readonly revoked: readonly Revocation[];
  readonly now: Date;
}): string {
  const { authority, revoked, now } = list;
  const issuer = pki.certificateFromPem(authority.certificate);
  const signed = sequence(
    integer('01'),
    algorithm(),
    pki.distinguishedNameToAsn1(issuer.subject),
    time(now),
    time(issuer.validity.notAfter),
    // An empty list must not be there at all (RFC 5280, 5.1.2.6).
    ...(revoked.length > 0 ? [sequence(...revoked.map(({ serial, at }) => sequence(integer(serial), time(at))))] : []),
    extensions(issuer, now),
  );
  const digest = forge.md.sha256.create().update(asn1.toDer(signed).getBytes());
  const signature = pki.privateKeyFromPem(authority.privateKey).sign(digest);
  const whole = sequence(signed, algorithm(), bitString(signature));
  return forge.pem.encode({ type: 'X509 CRL', body: asn1.toDer(whole).getBytes() }).replaceAll('\r\n', '\n');
}

/** Reads the one list of a PEM text. Whoever signed it is for the caller to check. */
export function readRevocationList(pem: string): Result<RevocationList> {
  try {
    const messages = forge.pem.decode(pem);
    const [message] = messages;
    if (messages.length !== 1 || message?.type !== 'X509 CRL') return refuse('it is no revocation list');
    return listOf(asn1.fromDer(message.body));
  } catch {
    // What node-forge throws names its own insides.
    return refuse('it is no revocation list');
  }
}

function listOf(whole: Asn1): Result<RevocationList> {
  const [signed, how, signature] = partsOf(whole);
  const bits = textOf(signature);
  if (!signed || oidOf(partsOf(how)[0]) !== sha256WithRsa || bits[0] !== '\0') {
    return refuse('it is no revocation list that is signed with RSA and SHA-256');
  }
  // Version, algorithm, issuer, this update, next update, then perhaps the entries, then the extensions.
  const entries = partsOf(signed)[5];
  const isThere = entries?.tagClass === asn1.Class.UNIVERSAL && entries.type === asn1.Type.SEQUENCE;
  const revoked = isThere ? partsOf(entries) : [];
  if (revoked.length > revokedMax) return refuse(`it revokes ${revoked.length} certificates, at most ${revokedMax}`);
  const serials = revoked.map((each) => forge.util.bytesToHex(textOf(partsOf(each)[0])));
  return ok({
    signature: bytesOf(bits.slice(1)),
    signed: bytesOf(asn1.toDer(signed).getBytes()),
    serials: new Set(serials),
  });
}

function extensions(issuer: forge.pki.Certificate, now: Date): Asn1 {
  const keyIdentifier = asn1.create(
    asn1.Class.CONTEXT_SPECIFIC,
    0,
    false,
    issuer.generateSubjectKeyIdentifier().getBytes(),
  );
  // The time as the list's number: it grows from one list to the next.
  const number = now.getTime().toString(16).padStart(12, '0');
  const list = sequence(
    extension(authorityKeyExtension, sequence(keyIdentifier)),
    extension(listNumberExtension, integer(number)),
  );
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, 0, true, [list]);
}

function extension(oid: string, value: Asn1): Asn1 {
  return sequence(identifier(oid), primitive(asn1.Type.OCTETSTRING, asn1.toDer(value).getBytes()));
}

function algorithm(): Asn1 {
  return sequence(identifier(sha256WithRsa), primitive(asn1.Type.NULL, ''));
}

/** UTCTime through the year 2049, then GeneralizedTime (RFC 5280, 5.1.2.4). */
function time(date: Date): Asn1 {
  return date.getUTCFullYear() < 2050
    ? primitive(asn1.Type.UTCTIME, asn1.dateToUtcTime(date))
    : primitive(asn1.Type.GENERALIZEDTIME, asn1.dateToGeneralizedTime(date));
}

function sequence(...parts: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, parts);
}

function identifier(oid: string): Asn1 {
  return primitive(asn1.Type.OID, asn1.oidToDer(oid).getBytes());
}

/** Of a positive number in hexadecimal, whose first byte is below 0x80. */
function integer(hex: string): Asn1 {
  return primitive(asn1.Type.INTEGER, forge.util.hexToBytes(hex));
}

function bitString(bytes: string): Asn1 {
  return primitive(asn1.Type.BITSTRING, `\0${bytes}`);
}

function primitive(type: forge.asn1.Type, value: string): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, type, false, value);
}

function partsOf(value: Asn1 | undefined): Asn1[] {
  return Array.isArray(value?.value) ? value.value : [];
}

function textOf(value: Asn1 | undefined): string {
  // A bit string whose content looks like DER is taken apart by node-forge, which keeps the bytes beside.
  const { bitStringContents } = (value ?? {}) as { readonly bitStringContents?: string };
  if (bitStringContents !== undefined) return bitStringContents;
  return typeof value?.value === 'string' ? value.value : '';
}

function oidOf(value: Asn1 | undefined): string {
  return value ? asn1.derToOid(textOf(value)) : '';
}

function bytesOf(binary: string): Uint8Array {
  return forge.util.binary.raw.decode(binary);
}
