import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { authorityCertificate, type Lifetime, memberCertificate } from '../../src/identity/certificate.ts';
import type { MemberFiles } from '../../src/platform/certificates.ts';

const dayMs = 86_400_000;

export interface AuthorityUnderTest {
  readonly certificate: string;
  readonly privateKey: string;
  /** PEM of a member's certificate and key; by default of `cluster`, and good from yesterday to tomorrow. */
  member(replica: string, options?: { readonly cluster?: string; readonly lifetime?: Lifetime }): MemberFiles;
}

/** In days from now. */
export function lifetime(from: number, to: number): Lifetime {
  return { notBefore: new Date(Date.now() + from * dayMs), notAfter: new Date(Date.now() + to * dayMs) };
}

export function authorityUnderTest(cluster: string, ofAuthority = lifetime(-1, 1)): AuthorityUnderTest {
  const { publicKey, privateKey } = keys();
  const certificate = authorityCertificate({
    ...{ cluster, publicKey, privateKey, serial: serial(), lifetime: ofAuthority },
  });
  return {
    ...{ certificate, privateKey },
    member(replica, options = {}) {
      const own = keys();
      const issued = memberCertificate({
        member: { cluster: options.cluster ?? cluster, replica },
        authority: { certificate, privateKey },
        ...{ publicKey: own.publicKey, serial: serial(), lifetime: options.lifetime ?? lifetime(-1, 1) },
      });
      return { ca: certificate, certificate: issued, key: own.privateKey };
    },
  };
}

export function keys(): { publicKey: string; privateKey: string } {
  return generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
}

function serial(): Uint8Array {
  return Uint8Array.of(1, ...randomBytes(15));
}
