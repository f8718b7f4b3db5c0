import { createHash, createPrivateKey, sign, verify, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { ok, type Result, refuse } from '../base/result.ts';
import type { AuthorityCertificate, MemberCertificate } from '../identity/join.ts';
import type { JoinPorts } from '../router/ports.ts';

const keyBits = 2048;
const digest = 'sha256';
const signAsync = promisify(sign);

/** The cryptography that the checks of joins ask for, by node:crypto. */
export const joinCryptography: Pick<JoinPorts, 'fingerprint' | 'readAuthority'> = {
  fingerprint: (bytes) => createHash(digest).update(bytes).digest('base64'),

  readAuthority(pem: string): AuthorityCertificate | null {
    const certificate = certificateOf(pem);
    if (!certificate?.ca || !certificate.checkIssued(certificate)) return null;
    const { publicKey } = certificate;
    if (!certificate.verify(publicKey)) return null;
    return {
      ...saidBy(certificate),
      readMember(encoded: Uint8Array): Result<MemberCertificate> {
        const member = certificateOf(encoded);
        if (!member) return refuse('its certificate is damaged');
        if (!member.checkIssued(certificate) || !member.verify(publicKey)) {
          return refuse("its certificate is not signed by the group's authority");
        }
        return memberCertificate(member);
      },
    };
  },
};

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
