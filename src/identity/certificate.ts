import forge from 'node-forge';
import { authorityCommonName, authorityUri, type Member, memberUri } from './member-name.ts';

const { pki } = forge;

/** Whole seconds count; both are within the lifetime. */
export interface Lifetime {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** What every new certificate needs from outside: keys as PEM, and randomness. */
interface Issue {
  /** SubjectPublicKeyInfo of an RSA key. */
  readonly publicKey: string;
  /** 16 random bytes, the first below 0x80: at most 20 bytes of a positive number (RFC 5280, 4.1.2.2). */
  readonly serial: Uint8Array;
  readonly lifetime: Lifetime;
}

/** PEM of a self-signed certificate. It signs members only: nothing below it may sign in turn. `privateKey` is PKCS#8, not encrypted. */
export function authorityCertificate(issue: Issue & { readonly cluster: string; readonly privateKey: string }): string {
  const { cluster, privateKey } = issue;
  const certificate = unsigned(issue, authorityCommonName(cluster));
  certificate.setIssuer(certificate.subject.attributes);
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: true, pathLenConstraint: 0 },
    { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
    { name: 'subjectKeyIdentifier' },
    uriName(authorityUri(cluster)),
  ]);
  return signed(certificate, privateKey);
}

/** PEM of a certificate with which one replica proves its name, as a client and as a server. `authority` holds PEM; its key is PKCS#8, not encrypted. */
export function memberCertificate(
  issue: Issue & {
    readonly member: Member;
    readonly authority: { readonly certificate: string; readonly privateKey: string };
  },
): string {
  const { member, authority } = issue;
  const issuer = pki.certificateFromPem(authority.certificate);
  const certificate = unsigned(issue, member.replica);
  certificate.setIssuer(issuer.subject.attributes);
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: false },
    // TLS 1.3 only signs with the key, and never encrypts to it.
    { name: 'keyUsage', critical: true, digitalSignature: true },
    { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: issuer.generateSubjectKeyIdentifier().getBytes() },
    uriName(memberUri(member)),
  ]);
  return signed(certificate, authority.privateKey);
}

function unsigned({ publicKey, serial, lifetime }: Issue, commonName: string): forge.pki.Certificate {
  const certificate = pki.createCertificate();
  certificate.publicKey = pki.publicKeyFromPem(publicKey);
  certificate.serialNumber = forge.util.bytesToHex(forge.util.binary.raw.encode(serial));
  certificate.validity.notBefore = lifetime.notBefore;
  certificate.validity.notAfter = lifetime.notAfter;
  certificate.setSubject([{ name: 'commonName', value: commonName }]);
  return certificate;
}

function uriName(value: string): object {
  const uniformResourceIdentifier = 6;
  return { name: 'subjectAltName', altNames: [{ type: uniformResourceIdentifier, value }] };
}

/** PKCS#1 v1.5: the same input gives the same bytes. */
function signed(certificate: forge.pki.Certificate, privateKey: string): string {
  certificate.sign(pki.privateKeyFromPem(privateKey), forge.md.sha256.create());
  return pki.certificateToPem(certificate).replaceAll('\r\n', '\n');
}
