import { createPrivateKey, hash, sign, verify, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { ok, type Result, refuse } from '../base/result.ts';
import type { AuthorityCertificate, MemberCertificate } from '../identity/join.ts';
import type { JoinPorts } from '../router/ports.ts';
import { certificatesIn, issuerOf } from './revocations.ts';

const keyBits = 2048;
const digest = 'sha256';
const signAsync = promisify(sign);

/** The cryptography that the checks of joins ask for, by node:crypto. */
export const joinCryptography: Pick<JoinPorts, 'fingerprint' | 'readAuthority'> = {
  fingerprint: (bytes) => hash(digest, bytes, 'base64'),

  readAuthority(pem: string): AuthorityCertificate | null {
    const authorities = certificatesIn(pem).map(authorityOf);
    const [first] = authorities;
    if (!first || authorities.some((each) => each?.subjectAltName !== first.subjectAltName)) return null;
    const believed = authorities.flatMap((each) => each ?? []);
    const lives = believed.map(saidBy);
    return {
      ...saidBy(first),
      notBeforeMs: Math.min(...lives.map(({ notBeforeMs }) => notBeforeMs)),
      notAfterMs: Math.max(...lives.map(({ notAfterMs }) => notAfterMs)),
      readMember(encoded: Uint8Array): Result<MemberCertificate> {
        const member = certificateOf(encoded);
        if (!member) return refuse('its certificate is damaged');
        const issuer = issuerOf(member, believed);
        if (!issuer) return refuse("its certificate is not signed by the group's authority");
        return isInForce(issuer) ? memberCertificate(member) : refuse('its authority is not in force');
      },
    };
  },
};

/** An authority that has signed itself; null when it is none. */
function authorityOf(pem: string): X509Certificate | null {
  const certificate = certificateOf(pem);
  const isAuthority = certificate?.ca && certificate.checkIssued(certificate);
  return certificate && isAuthority && certificate.verify(certificate.publicKey) ? certificate : null;
}

function isInForce(certificate: X509Certificate): boolean {
  const { notBeforeMs, notAfterMs } = saidBy(certificate);
  const now = Date.now();
  return now >= notBeforeMs && now <= notAfterMs;
}

/** Signs with a member's private key (PEM, not encrypted), on a thread of its own. */
export function joinSigner(privateKey: string): (bytes: Uint8Array) => Promise<Uint8Array> {
  const key = createPrivateKey(privateKey);
  return (bytes) => signAsync(digest, bytes, key);
}

/** The DER of a certificate in PEM. */
export function certificateBytes(pem: string): Uint8Array {
  return Uint8Array.from(new X509Certificate(pem).raw);
}

function memberCertificate(certificate: X509Certificate): Result<MemberCertificate> {
  if (certificate.ca) return refuse('its certificate is that of an authority');
  const { publicKey, serialNumber: serial } = certificate;
  if (publicKey.asymmetricKeyType !== 'rsa' || publicKey.asymmetricKeyDetails?.modulusLength !== keyBits) {
    return refuse(`its key is not one of RSA with ${keyBits} bits`);
  }
  return ok({
    ...saidBy(certificate),
    serial,
    hasSigned: (signed: Uint8Array, signature: Uint8Array) => verify(digest, signed, publicKey, signature),
  });
}

/** Read now: OpenSSL makes each of these texts anew whenever it is asked. */
function saidBy({ subject, subjectAltName, validFrom, validTo }: X509Certificate) {
  return {
    names: { subject, subjectAltName },
    notBeforeMs: Date.parse(validFrom),
    notAfterMs: Date.parse(validTo),
  };
}

/** Null when it is none. */
function certificateOf(encoded: string | Uint8Array): X509Certificate | null {
  try {
    return new X509Certificate(encoded);
  } catch {
    return null;
  }
}
