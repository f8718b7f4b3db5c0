import type { KeyObject, X509Certificate } from 'node:crypto';
import { linkSync, rmSync } from 'node:fs';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { revocationList, revokedMax } from '../identity/revocation-list.ts';
import {
  type Authority,
  authorityFiles,
  freshAuthority,
  serialOf,
  unlockAuthority,
  unlockKey,
} from './certificates.ts';
import { changeIssued, type IssuedCertificate, readIssued } from './issued-certificates.ts';
import { checkAbsent, encrypted, privatePem, replaceFile } from './key-files.ts';

/** The certificates that replicas or serials stand for and that are not revoked yet. Throws an OperatingError for one that stands for none. */
export function toRevoke({ directory }: Authority, which: readonly string[]): IssuedCertificate[] {
  const all = readIssued(directory);
  const meant = new Set<IssuedCertificate>();
  for (const each of which) {
    const named = all.filter(({ replica, serial }) => replica === each || serial === each.toLowerCase());
    if (named.length === 0)
      throw new OperatingError('keys', `no certificate was issued to "${each}", nor with that serial`);
    const good = named.filter(({ revokedAt }) => revokedAt === null);
    if (good.length === 0) throw new OperatingError('keys', `"${each}" is revoked already`);
    for (const entry of good) meant.add(entry);
  }
  const inForce = all.filter((entry) => entry.revokedAt && entry.notAfter > new Date()).length;
  if (inForce + meant.size > revokedMax) {
    throw new OperatingError('keys', `more than ${revokedMax} revoked certificates are still in force`, {
      remedy: 'change the authority instead: manycast keys rotate',
    });
  }
  return [...meant];
}

/** Puts the certificates on the authority's list for good, and returns its path. */
export function revokeMembers(authority: Authority, passphrase: string, entries: readonly IssuedCertificate[]): string {
  const keys = unlockAll(authority, passphrase);
  const serials = new Set(entries.map(({ serial }) => serial));
  const revokedAt = new Date();
  // The record first: cut short here, the next `revoke` finds the rest of the work on record.
  changeIssued(authority.directory, (all) =>
    all.map((each) => (serials.has(each.serial) && !each.revokedAt ? { ...each, revokedAt } : each)),
  );
  return writeList(authority.directory, keys);
}

/**
 * A new key for the authority. `ca.crt` then holds both certificates, so that members of either are believed, and what is issued from now on is
 * signed with the new one. The old key stays, under the same passphrase, because its own members may have to be revoked.
 */
export async function beginChange(authority: Authority, passphrase: string): Promise<void> {
  const { directory, cluster, certificate: before } = authority;
  checkNoChange(authority);
  const { key, certificate, old } = authorityFiles(directory);
  const oldKey = unlockAuthority(authority, passphrase);
  const fresh = await freshAuthority(cluster);
  const encryptedKey = await encrypted(fresh.privateKey, passphrase);
  // Nothing is renamed away: whatever is cut short, the old key is there under one of its names.
  keepAs(key, old.key);
  keepAs(certificate, old.certificate);
  replaceFile(key, encryptedKey);
  replaceFile(certificate, `${fresh.certificate}${before.toString()}`);
  writeList(directory, [
    { certificate: fresh.certificate, key: fresh.privateKey },
    { certificate: before.toString(), key: oldKey },
  ]);
}

/** What can be said against a new key before anybody is asked for a passphrase. */
export function checkNoChange({ directory, old: before }: Authority): void {
  const { old } = authorityFiles(directory);
  if (before) {
    throw new OperatingError('keys', 'the authority is being changed already', {
      remedy: 'end that first: manycast keys rotate DIRECTORY --finish',
    });
  }
  for (const path of Object.values(old)) checkAbsent(path);
}

/** What can be said against the end of a change: there is none, or some replica would be left without a certificate that is believed. */
export function checkChangeDone({ directory, certificate, old }: Authority): void {
  if (!old) {
    throw new OperatingError('keys', 'the authority is not being changed', {
      remedy: 'begin: manycast keys rotate DIRECTORY',
    });
  }
  const now = new Date();
  const good = readIssued(directory).filter(({ revokedAt, notAfter }) => !revokedAt && notAfter > now);
  const renewed = new Set(good.flatMap((each) => (each.authority === serialOf(certificate) ? [each.replica] : [])));
  const left = new Set(good.map(({ replica }) => replica).filter((replica) => !renewed.has(replica)));
  if (left.size === 0) return;
  throw new OperatingError('keys', `still without a certificate by the new key: ${[...left].join(', ')}`, {
    remedy: 'issue them new ones, or revoke those that are gone',
  });
}

/** Forgets the old key: `ca.crt` and `ca.crl` are those of the new one alone. */
export function finishChange(authority: Authority, passphrase: string): void {
  const { directory, certificate } = authority;
  checkChangeDone(authority);
  const key = unlockAuthority(authority, passphrase);
  const files = authorityFiles(directory);
  replaceFile(files.certificate, certificate.toString());
  writeList(directory, [{ certificate: certificate.toString(), key }]);
  for (const path of Object.values(files.old)) rmSync(path, { force: true });
}

interface Signer {
  readonly certificate: string;
  readonly key: KeyObject;
}

function unlockAll(authority: Authority, passphrase: string): Signer[] {
  const signer = (certificate: X509Certificate, key: KeyObject) => ({ certificate: certificate.toString(), key });
  const own = signer(authority.certificate, unlockAuthority(authority, passphrase));
  if (!authority.old) return [own];
  return [
    own,
    signer(authority.old, unlockKey(authorityFiles(authority.directory).old.key, authority.old, passphrase)),
  ];
}

/** One list by each key, with every revoked certificate that is still in force: whose it is does not matter, for no serial comes up twice. */
function writeList(directory: string, signers: readonly Signer[]): string {
  const now = new Date();
  const revoked = readIssued(directory).flatMap(({ serial, revokedAt, notAfter }) =>
    revokedAt && notAfter > now ? [{ serial, at: revokedAt }] : [],
  );
  const lists = signers.map(({ certificate, key }) =>
    revocationList({ authority: { certificate, privateKey: privatePem(key) }, revoked, now }),
  );
  const path = authorityFiles(directory).revoked;
  replaceFile(path, lists.join(''));
  return path;
}

/** A second name for a file, never in the place of another. */
function keepAs(path: string, name: string): void {
  try {
    linkSync(path, name);
  } catch (cause) {
    throw new OperatingError('keys', messageOf(cause), { cause });
  }
}
