import {
  createCipheriv,
  createPrivateKey,
  generateKeyPair,
  type KeyObject,
  pbkdf2,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import {
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { authorityCertificate, type Lifetime, memberCertificate } from '../identity/certificate.ts';
import { encryptedKeyPem } from '../identity/encrypted-key.ts';
import { authorityOf, type Member, memberOf, namePattern, nameRule } from '../identity/member-name.ts';

const keyBits = 2048;
const authorityDays = 3650;
const dayMs = 86_400_000;
/** A replica whose clock is slow takes a certificate of just now all the same. */
const clockSlackMs = 3_600_000;
export const passphraseLengthMin = 8;
/** OWASP's number of 2023 for PBKDF2 with HMAC-SHA256; some tenths of a second. */
const derivationIterations = 600_000;

/** The key of a cluster, which signs the certificates of its members: a directory with `ca.crt` and `ca.key`. */
export interface Authority {
  readonly directory: string;
  readonly cluster: string;
  readonly certificate: X509Certificate;
}

/** Paths, or the content of the files as PEM: the authority's certificate, the own one, the own private key. */
export interface MemberFiles {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** What can be said against a new authority before anybody is asked for a passphrase. */
export function checkNewAuthority(directory: string, cluster: string): void {
  checkName('cluster', cluster);
  makeDirectory(directory);
  for (const path of Object.values(authorityFiles(directory))) checkAbsent(path);
}

/** Makes the key and certificate of a cluster's authority, for ten years; returns the paths of both. Existing files are never touched. */
export async function makeAuthority(directory: string, cluster: string, passphrase: string): Promise<string[]> {
  checkNewAuthority(directory, cluster);
  if (passphrase.length < passphraseLengthMin) {
    throw new OperatingError(
      'keys',
      `the passphrase has ${passphrase.length} characters, at least ${passphraseLengthMin} are needed`,
    );
  }
  const { publicKey, privateKey } = await keyPair();
  const certificate = authorityCertificate({
    ...{ cluster, publicKey: publicPem(publicKey), privateKey: privatePem(privateKey) },
    ...{ serial: serial(), lifetime: lifetimeOf(authorityDays) },
  });
  const paths = authorityFiles(directory);
  writeBoth([paths.key, await encrypted(privateKey, passphrase)], [paths.certificate, certificate]);
  return [paths.certificate, paths.key];
}

/** Throws an OperatingError when there is none, or its certificate is over. */
export function readAuthority(directory: string): Authority {
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw new OperatingError('keys', `${directory} is not a directory`);
  }
  const path = authorityFiles(directory).certificate;
  const certificate = readCertificate(path, 'make one: manycast keys init DIRECTORY --cluster NAME');
  const cluster = authorityOf(certificate);
  if (!cluster.ok || !isSelfSigned(certificate)) {
    throw new OperatingError('keys', `${path}: it is not the certificate of an authority`);
  }
  checkInForce(path, certificate, 'make a new authority: manycast keys init');
  return { directory, cluster: cluster.value, certificate };
}

/** The authority's private key; throws an OperatingError when the passphrase is wrong. */
export function unlockAuthority({ directory, certificate }: Authority, passphrase: string): KeyObject {
  const path = authorityFiles(directory).key;
  const pem = readPrivate(path);
  if (!pem.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----')) {
    throw new OperatingError('keys', `${path} holds no encrypted private key`);
  }
  const key = privateKeyOf(pem, passphrase);
  if (!key) throw new OperatingError('keys', `${path}: wrong passphrase`);
  if (!certificate.checkPrivateKey(key)) throw new OperatingError('keys', `${path} is not the key of ca.crt beside it`);
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
  { cluster, certificate: issuer }: Authority,
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
  writeBoth([paths.key, privatePem(privateKey)], [paths.certificate, certificate]);
  return { ...paths, notAfter: lifetime.notAfter };
}

/** Certificate and key of a member as PEM, read and checked: they belong together, to `member`, are in force, and the authority has signed them. */
export function readMember(paths: MemberFiles, member: Member): MemberFiles {
  const ca = readCertificate(paths.ca);
  const cluster = authorityOf(ca);
  const complain = (path: string, complaint: string, remedy?: string): never => {
    throw new OperatingError('certificates', `${path}: ${complaint}`, remedy === undefined ? {} : { remedy });
  };
  if (!cluster.ok || !isSelfSigned(ca)) return complain(paths.ca, 'it is not the certificate of an authority');
  if (cluster.value !== member.cluster) {
    return complain(paths.ca, `it is the authority of cluster "${cluster.value}", not of "${member.cluster}"`);
  }
  checkInForce(paths.ca, ca, 'make a new authority: manycast keys init');
  const certificate = readCertificate(paths.certificate);
  if (!certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) {
    return complain(paths.certificate, `it is not signed by ${paths.ca}`);
  }
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
  const key = privateKeyOf(readPrivate(paths.key));
  if (!key) return complain(paths.key, 'it holds no private key, or an encrypted one');
  if (!certificate.checkPrivateKey(key)) return complain(paths.key, `it is not the key of ${paths.certificate}`);
  return { ca: ca.toString(), certificate: certificate.toString(), key: privatePem(key) };
}

/** The one certificate of a PEM file. */
export function readCertificate(path: string, remedy?: string): X509Certificate {
  const text = read(path, remedy).text;
  const count = text.split('-----BEGIN CERTIFICATE-----').length - 1;
  if (count !== 1) {
    // All that a file holds would be trusted, and only the first looked at.
    const what = count === 0 ? 'no certificate' : `${count} certificates, allowed is one`;
    throw new OperatingError('certificates', `${path} holds ${what}`);
  }
  try {
    return new X509Certificate(text);
  } catch (cause) {
    throw new OperatingError('certificates', `${path} holds a damaged certificate`, { cause });
  }
}

function authorityFiles(directory: string): { certificate: string; key: string } {
  return memberFiles(directory, 'ca');
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

function keyPair(): Promise<{ publicKey: KeyObject; privateKey: KeyObject }> {
  return promisify(generateKeyPair)('rsa', { modulusLength: keyBits });
}

function publicPem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

function privatePem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

async function encrypted(key: KeyObject, passphrase: string): Promise<string> {
  const salt = randomBytes(16);
  const initialVector = randomBytes(16);
  const derived = await promisify(pbkdf2)(passphrase, salt, derivationIterations, 32, 'sha256');
  const cipher = createCipheriv('aes-256-cbc', derived, initialVector);
  const ciphertext = Buffer.concat([cipher.update(key.export({ type: 'pkcs8', format: 'der' })), cipher.final()]);
  return encryptedKeyPem({ salt, iterations: derivationIterations, initialVector, ciphertext });
}

/** Null when it is none, or not with this passphrase: OpenSSL cannot always tell which. */
function privateKeyOf(pem: string, passphrase?: string): KeyObject | null {
  try {
    return createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase });
  } catch {
    return null;
  }
}

function checkName(what: string, name: string): void {
  if (!namePattern.test(name))
    throw new OperatingError('keys', `${what} "${name}" is not allowed, allowed are ${nameRule}`);
}

function checkAbsent(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })) throw exists(path);
}

function exists(path: string, cause?: unknown): OperatingError {
  return new OperatingError('keys', `${path} exists already and is left as it is`, { cause });
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const isFile = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    throw new OperatingError('keys', isFile ? `${path} is not a directory` : messageOf(cause), { cause });
  }
}

/** Both or none. */
function writeBoth(key: readonly [string, string], certificate: readonly [string, string]): void {
  writeNew(...key);
  try {
    writeNew(...certificate);
  } catch (error) {
    rmSync(key[0], { force: true });
    throw error;
  }
}

function writeNew(path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') throw exists(path, cause);
    throw new OperatingError('keys', messageOf(cause), { cause });
  }
}

function readPrivate(path: string): string {
  const { text, mode } = read(path);
  if ((mode & 0o077) !== 0) {
    throw new OperatingError('certificates', `${path} can be read by others`, { remedy: `chmod 600 ${path}` });
  }
  return text;
}

function read(path: string, remedy?: string): { text: string; mode: number } {
  try {
    const fd = openSync(path, 'r');
    try {
      return { mode: fstatSync(fd).mode, text: readFileSync(fd, 'utf8') };
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw new OperatingError('certificates', messageOf(cause), { cause, ...(remedy === undefined ? {} : { remedy }) });
  }
}
