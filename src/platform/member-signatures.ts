import { createHash, createPrivateKey, type KeyObject, sign, verify, X509Certificate } from 'node:crypto';
import { OperatingError } from '../base/operating-error.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import type { Disbelief, MemberCertificate } from '../identity/known-members.ts';
import { memberOf } from '../identity/member-name.ts';
import { certificateBytesMax, fingerprintBytes, type Signing, signatureBytes } from '../wire/envelope.ts';
import type { MemberFiles } from './certificates.ts';
import { certificatesIn, issuerOf } from './revocations.ts';

/** The same key proves a name in TLS: what is signed here can be nothing else. */
const context = Buffer.from('manycast control datagram\0');

/** Signs with a member's key, RSA PKCS#1 v1.5 with SHA-256. */
export interface MemberSigning extends Signing {
  /** The own certificate, DER. */
  readonly certificate: Uint8Array;
  /** Unix milliseconds. */
  readonly notAfter: number;
}

/** Throws an OperatingError when the key is of another kind than `manycast keys issue` makes, or the certificate does not fit a datagram. */
export function memberSigning({ certificate, key }: MemberFiles): MemberSigning {
  const own = new X509Certificate(certificate);
  const privateKey = createPrivateKey(key);
  if (!signsControl(privateKey)) {
    throw new OperatingError('certificates', 'control messages are signed with an RSA key of 2048 bits', {
      remedy: 'make one: manycast keys issue',
    });
  }
  if (own.raw.length > certificateBytesMax) {
    throw new OperatingError(
      'certificates',
      `the certificate has ${own.raw.length} bytes, at most ${certificateBytesMax} can be shown to the others`,
      { remedy: 'make one: manycast keys issue' },
    );
  }
  return {
    certificate: own.raw,
    notAfter: Date.parse(own.validTo),
    fingerprint: fingerprint(own.raw),
    sign: (bytes) => sign('sha256', Buffer.concat([context, bytes]), privateKey),
  };
}

/** Whether the member whose key it is has signed these bytes. */
export function isSignedBy(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  return verify('sha256', Buffer.concat([context, bytes]), key, signature);
}

/** Reads members' certificates, and verifies that the authority has signed them. `ca` is PEM, of two while the authority changes. */
export function certificateReader(ca: string): (der: Uint8Array) => Result<MemberCertificate<KeyObject>> {
  const authorities = certificatesIn(ca).map((pem) => new X509Certificate(pem));
  return (der) => {
    const certificate = parsed(der);
    const member = certificate && memberOf(certificate);
    // Bytes that follow a certificate would make another fingerprint of the same.
    if (!certificate || !member?.ok || !certificate.raw.equals(der)) {
      return refuse('certificate malformed' satisfies Disbelief);
    }
    if (!issuerOf(certificate, authorities)) {
      return refuse('certificate of another authority' satisfies Disbelief);
    }
    const key = certificate.publicKey;
    if (!signsControl(key)) return refuse('certificate malformed' satisfies Disbelief);
    return ok({
      ...{ member: member.value, serial: certificate.serialNumber, key },
      notBefore: Date.parse(certificate.validFrom),
      notAfter: Date.parse(certificate.validTo),
    });
  };
}

/** The beginning of the SHA-256 of a certificate. */
export function fingerprint(der: Uint8Array): Uint8Array {
  return createHash('sha256').update(der).digest().subarray(0, fingerprintBytes);
}

function signsControl(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'rsa' && key.asymmetricKeyDetails?.modulusLength === 8 * signatureBytes;
}

function parsed(der: Uint8Array): X509Certificate | null {
  try {
    return new X509Certificate(der);
  } catch {
    return null;
  }
}
