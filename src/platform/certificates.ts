import { type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { OperatingError } from '../base/operating-error.ts';
import { authorityCertificate, type Lifetime, memberCertificate } from '../identity/certificate.ts';
import { authorityOf, type Member, memberOf, namePattern, nameRule } from '../identity/member-name.ts';
import { revocationList } from '../identity/revocation-list.ts';
import { changeIssued } from './issued-certificates.ts';
import {
  checkAbsent,
  encrypted,
  keyPair,
  makeDirectory,
  privateKeyOf,
  privatePem,
  publicPem,
  readPrivate,
  readWithMode,
  writeAll,
} from './key-files.ts';
import { certificatesIn, issuerOf, readRevoked } from './revocations.ts';

const authorityDays = 3650;
const dayMs = 86_400_000;
/** A replica whose clock is slow takes a certificate of just now all the same. */
const clockSlackMs = 3_600_000;
export const passphraseLengthMin = 8;

/** While an authority is changed there are two. */
const authoritiesMax = 2;

/** The key of a cluster, which signs the certificates of its members: a directory with `ca.crt` and `ca.key`. */
export interface Authority {
  readonly directory: string;
  readonly cluster: string;
  /** Of the key that signs. */
  readonly certificate: X509Certificate;
  /** Of the key before, while members may still have certificates by it: the second in `ca.crt`. */
  readonly old: X509Certificate | null;
}

/** Paths, or the content of the files as PEM: the authority's certificate, or both while it changes, the own one, the own private key. */
export interface MemberFiles {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** Always a path, for it is read again when it changes: who is not to be believed any more. */
  readonly revoked?: string | undefined;
}

/** `ca.crt`, `ca.key` and `ca.crl`; `old` names those of the authority before. */
export function authorityFiles(directory: string): {
  readonly certificate: string;
  readonly key: string;
  readonly revoked: string;
  readonly old: { readonly certificate: string; readonly key: string };
} {
  // No replica is named "ca", nor anything with a dot.
  return { ...memberFiles(directory, 'ca'), revoked: join(directory, 'ca.crl'), old: memberFiles(directory, 'ca.old') };
}

/** What can be said against a new authority before anybody is asked for a passphrase. */
export function checkNewAuthority(directory: string, cluster: string): void {
  checkName('cluster', cluster);
  makeDirectory(directory);
  const { certificate, key, revoked } = authorityFiles(directory);
  for (const path of [certificate, key, revoked]) checkAbsent(path);
}

/** Makes the key and certificate of a cluster's authority, for ten years, and a list that revokes nobody; returns their paths. Existing files are never touched. */
export async function makeAuthority(directory: string, cluster: string, passphrase: string): Promise<string[]> {
  checkNewAuthority(directory, cluster);
  if (passphrase.length < passphraseLengthMin) {
    throw new OperatingError(
      'keys',
      `the passphrase has ${passphrase.length} characters, at least ${passphraseLengthMin} are needed`,
    );
  }
  const { certificate, privateKey } = await freshAuthority(cluster);
  const paths = authorityFiles(directory);
  const authority = { certificate, privateKey: privatePem(privateKey) };
  writeAll([
    [paths.key, await encrypted(privateKey, passphrase)],
    [paths.certificate, certificate],
    [paths.revoked, revocationList({ authority, revoked: [], now: new Date() })],
  ]);
  return [paths.certificate, paths.key, paths.revoked];
}

/** A key and its self-signed certificate as PEM. */
export async function freshAuthority(cluster: string): Promise<{ certificate: string; privateKey: KeyObject }> {
  const { publicKey, privateKey } = await keyPair();
  const certificate = authorityCertificate({
    ...{ cluster, publicKey: publicPem(publicKey), privateKey: privatePem(privateKey) },
    ...{ serial: serial(), lifetime: lifetimeOf(authorityDays) },
  });
  return { certificate, privateKey };
}

/** Throws an OperatingError when there is none, or its certificate is over. */
export function readAuthority(directory: string): Authority {
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw new OperatingError('keys', `${directory} is not a directory`);
  }
  const path = authorityFiles(directory).certificate;
  const [first, second] = readCertificates(
    path,
    authoritiesMax,
    'make one: manycast keys init DIRECTORY --cluster NAME',
  );
  for (const certificate of [first, second]) {
    if (certificate && authorityOf(certificate).ok && isSelfSigned(certificate)) continue;
    if (certificate) throw new OperatingError('keys', `${path}: it is not the certificate of an authority`);
  }
  const cluster = authorityOf(first);
  checkInForce(path, first, 'make a new authority: manycast keys init');
  return { directory, cluster: cluster.ok ? cluster.value : '', certificate: first, old: second ?? null };
}

/** The authority's private key; throws an OperatingError when the passphrase is wrong. */
export function unlockAuthority({ directory, certificate }: Authority, passphrase: string): KeyObject {
  return unlockKey(authorityFiles(directory).key, certificate, passphrase);
}

/** The private key of an authority's certificate. */
export function unlockKey(path: string, certificate: X509Certificate, passphrase: string): KeyObject {
  const pem = readPrivate(path);
  if (!pem.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----')) {
    throw new OperatingError('keys', `${path} holds no encrypted private key`);
  }
  const key = privateKeyOf(pem, passphrase);
  if (!key) throw new OperatingError('keys', `${path}: wrong passphrase`);
  if (!certificate.checkPrivateKey(key))
    throw new OperatingError(
      'keys',
      `${path} is not the key of ${path.replace(/key$/, 'crt').replace(/^.*\//, '')} beside it`,
    );
  return key;
}

/** What can be said against new members before anybody is asked for a passphrase. `out` is made when it is not there. */
export function checkNewMembers(replicas: readonly string[], out: string): void {
  makeDirectory(out);
  for (const [i, replica] of replicas.entries()) {
    checkName('replica', replica);
    if (replica === 'ca') {
      throw new OperatingError('keys', 'a replica cannot be named "ca": ca.crt is the file of the authority');
    }
    if (replicas.indexOf(replica) !== i) throw new OperatingError('keys', `"${replica}" is named twice`);
    for (const path of Object.values(memberFiles(out, replica))) checkAbsent(path);
  }
}

/** Makes a replica's key and certificate; it ends with the authority's own at the latest. Existing files are never touched. */
export async function issueMember(
  { directory, cluster, certificate: issuer }: Authority,
  authorityKey: KeyObject,
  { replica, days, out }: { readonly replica: string; readonly days: number; readonly out: string },
): Promise<{ readonly certificate: string; readonly key: string; readonly notAfter: Date }> {
  checkNewMembers([replica], out);
  const { publicKey, privateKey } = await keyPair();
  const lifetime = lifetimeOf(days, issuer);
  const certificate = memberCertificate({
    member: { cluster, replica },
    authority: { certificate: issuer.toString(), privateKey: privatePem(authorityKey) },
    ...{ publicKey: publicPem(publicKey), serial: serial(), lifetime },
  });
  const paths = memberFiles(out, replica);
  // On record first: a certificate that nobody knows of could not be revoked.
  record(directory, new X509Certificate(certificate), { replica, issuer });
  writeAll([
    [paths.key, privatePem(privateKey)],
    [paths.certificate, certificate],
  ]);
  return { ...paths, notAfter: lifetime.notAfter };
}

/** The certificates of a cluster's authority: two while its key is changed. */
export function readAuthorityOf(path: string, cluster: string): ReturnType<typeof readCertificates> {
  const authorities = readCertificates(path, authoritiesMax);
  for (const ca of authorities) {
    const named = authorityOf(ca);
    const complaint =
      !named.ok || !isSelfSigned(ca)
        ? 'it is not the certificate of an authority'
        : named.value !== cluster && `it is the authority of cluster "${named.value}", not of "${cluster}"`;
    if (complaint) throw new OperatingError('certificates', `${path}: ${complaint}`);
  }
  return authorities;
}

/**
 * Certificate and key of a member as PEM, read and checked: they belong together, to `member`, are in force, not revoked, and the authority has
 * signed them.
 */
export function readMember(paths: MemberFiles, member: Member): MemberFiles {
  const complain = (path: string, complaint: string, remedy?: string): never => {
    throw new OperatingError('certificates', `${path}: ${complaint}`, remedy === undefined ? {} : { remedy });
  };
  const authorities = readAuthorityOf(paths.ca, member.cluster);
  const certificate = readCertificate(paths.certificate);
  const issuer = issuerOf(certificate, authorities);
  // Before the member's own certificate: without an authority in force no other would do.
  checkInForce(paths.ca, issuer ?? authorities[0], 'make a new authority: manycast keys init');
  if (!issuer) return complain(paths.certificate, `it is not signed by ${paths.ca}`);
  const named = memberOf(certificate);
  if (!named.ok) return complain(paths.certificate, named.reason);
  const { cluster: ofCluster, replica } = named.value;
  if (ofCluster !== member.cluster || replica !== member.replica) {
    return complain(
      paths.certificate,
      `it is for "${replica}" of "${ofCluster}", not for "${member.replica}" of "${member.cluster}"`,
    );
  }
  checkInForce(paths.certificate, certificate, 'issue a new one: manycast keys issue');
  const ca = authorities.map(String).join('');
  const revoked = paths.revoked === undefined ? {} : { revoked: paths.revoked };
  if (revoked.revoked !== undefined && readRevoked(revoked.revoked, ca).has(serialOf(certificate))) {
    return complain(paths.certificate, `it is revoked by ${revoked.revoked}`, 'issue a new one: manycast keys issue');
  }
  const key = privateKeyOf(readPrivate(paths.key));
  if (!key) return complain(paths.key, 'it holds no private key, or an encrypted one');
  if (!certificate.checkPrivateKey(key)) return complain(paths.key, `it is not the key of ${paths.certificate}`);
  return { ca, certificate: certificate.toString(), key: privatePem(key), ...revoked };
}

/** The one certificate of a PEM file. */
export function readCertificate(path: string, remedy?: string): X509Certificate {
  return readCertificates(path, 1, remedy)[0];
}

/** The certificates of a PEM file, at least one. */
export function readCertificates(
  path: string,
  countMax: 1 | 2,
  remedy?: string,
): readonly [X509Certificate, ...X509Certificate[]] {
  const { text } = readWithMode(path, remedy);
  const count = text.split('-----BEGIN CERTIFICATE-----').length - 1;
  if (count < 1 || count > countMax) {
    // All that a file holds would be trusted, and only some looked at.
    const allowed = countMax === 1 ? 'allowed is one' : 'allowed are two';
    throw new OperatingError(
      'certificates',
      `${path} holds ${count === 0 ? 'no certificate' : `${count} certificates, ${allowed}`}`,
    );
  }
  try {
    const [first = '', ...others] = certificatesIn(text);
    if (others.length !== count - 1) throw new Error('a certificate has no end');
    return [new X509Certificate(first), ...others.map((pem) => new X509Certificate(pem))];
  } catch (cause) {
    throw new OperatingError('certificates', `${path} holds a damaged certificate`, { cause });
  }
}

/** As the record and revocation lists have it: hexadecimal, lower case. */
export function serialOf({ serialNumber }: X509Certificate): string {
  return serialNumber.toLowerCase();
}

/** Whether bytes from elsewhere, as PEM, are the certificate of an authority of this program, signed by itself. */
export function isAuthority(pem: string): boolean {
  try {
    const certificate = new X509Certificate(pem);
    return authorityOf(certificate).ok && isSelfSigned(certificate);
  } catch {
    return false;
  }
}

function record(
  directory: string,
  certificate: X509Certificate,
  { replica, issuer }: { readonly replica: string; readonly issuer: X509Certificate },
): void {
  const [notBefore, notAfter] = [new Date(certificate.validFrom), new Date(certificate.validTo)];
  const entry = { serial: serialOf(certificate), replica, notBefore, notAfter, authority: serialOf(issuer) };
  changeIssued(directory, (entries) => [...entries, { ...entry, revokedAt: null }]);
}

/** A name has no dot, so no replica's files are another's. */
function memberFiles(directory: string, replica: string): { certificate: string; key: string } {
  return { certificate: join(directory, `${replica}.crt`), key: join(directory, `${replica}.key`) };
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.ca && certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey);
}

function checkInForce(path: string, { validFrom, validTo }: X509Certificate, remedy: string): void {
  const now = Date.now();
  if (now > Date.parse(validTo)) throw new OperatingError('certificates', `${path} expired on ${validTo}`, { remedy });
  if (now < Date.parse(validFrom)) {
    throw new OperatingError('certificates', `${path} is good from ${validFrom} on`, {
      remedy: 'look at the clock of this machine',
    });
  }
}

function lifetimeOf(days: number, issuer?: X509Certificate): Lifetime {
  const now = Date.now();
  const notBefore = Math.max(now - clockSlackMs, issuer ? Date.parse(issuer.validFrom) : 0);
  const notAfter = Math.min(now + days * dayMs, issuer ? Date.parse(issuer.validTo) : Infinity);
  return { notBefore: new Date(notBefore), notAfter: new Date(notAfter) };
}

function serial(): Uint8Array {
  const bytes = randomBytes(16);
  // Below 0x80, for a positive number, and never 0, for one without leading zeros.
  bytes[0] = (bytes.readUInt8(0) & 0x3f) | 0x40;
  return bytes;
}

function checkName(what: string, name: string): void {
  if (!namePattern.test(name))
    throw new OperatingError('keys', `${what} "${name}" is not allowed, allowed are ${nameRule}`);
}
