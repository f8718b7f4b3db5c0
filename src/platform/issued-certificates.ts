import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { namePattern } from '../identity/member-name.ts';
import { syncDirectory } from './synced-file.ts';

/** A certificate that an authority has made, as its directory keeps it on record. */
export interface IssuedCertificate {
  /** Hexadecimal, lower case. */
  readonly serial: string;
  readonly replica: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Serial of the certificate of the authority that signed it. */
  readonly authority: string;
  /** Null while nobody has revoked it. */
  readonly revokedAt: Date | null;
}

const serialPattern = /^[0-9a-f]{2,40}$/;

/** Everything the authority has issued, oldest first; nothing when there is no record yet. Throws an OperatingError for a damaged one. */
export function readIssued(directory: string): IssuedCertificate[] {
  const path = recordOf(directory);
  return textOf(path)
    .split('\n')
    .flatMap((line, i) => (line === '' ? [] : [entryOf(line, `${path}:${i + 1}`)]));
}

/**
 * Changes the record in one step: whoever reads it, and whatever is cut short, there is the old one or the new one. The new file is also the
 * lock, so two changes at a time cannot lose one of them.
 */
export function changeIssued(
  directory: string,
  change: (entries: readonly IssuedCertificate[]) => readonly IssuedCertificate[],
): void {
  const path = recordOf(directory);
  const fd = openNew(`${path}.new`);
  try {
    writeFileSync(fd, change(readIssued(directory)).map(lineOf).join(''));
    fsyncSync(fd);
    renameSync(`${path}.new`, path);
    syncDirectory(directory);
  } catch (error) {
    rmSync(`${path}.new`, { force: true });
    throw error instanceof OperatingError ? error : new OperatingError('keys', messageOf(error), { cause: error });
  } finally {
    closeSync(fd);
  }
}

function recordOf(directory: string): string {
  return join(directory, 'issued');
}

/** One line each: serial, replica, from, until, serial of the authority, `good` or when it was revoked. */
function lineOf({ serial, replica, notBefore, notAfter, authority, revokedAt }: IssuedCertificate): string {
  const state = revokedAt ? `revoked:${timeOf(revokedAt)}` : 'good';
  return `${[serial, replica, timeOf(notBefore), timeOf(notAfter), authority, state].join(' ')}\n`;
}

function entryOf(line: string, where: string): IssuedCertificate {
  const [serial = '', replica = '', from = '', until = '', authority = '', state = '', ...rest] = line.split(' ');
  const revoked = state.startsWith('revoked:') ? state.slice('revoked:'.length) : null;
  const dates = [from, until, ...(revoked === null ? [] : [revoked])];
  const isGood =
    rest.length === 0 &&
    [serial, authority].every((each) => serialPattern.test(each)) &&
    namePattern.test(replica) &&
    dates.every((date) => !Number.isNaN(Date.parse(date))) &&
    (revoked !== null || state === 'good');
  if (!isGood) throw new OperatingError('keys', `${where}: it is no line of an authority's record`);
  return {
    ...{ serial, replica, authority },
    ...{ notBefore: new Date(from), notAfter: new Date(until), revokedAt: revoked === null ? null : new Date(revoked) },
  };
}

/** Whole seconds: a certificate has no more. */
function timeOf(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new OperatingError('keys', messageOf(cause), { cause });
  }
}

function openNew(path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new OperatingError('keys', messageOf(cause), { cause });
    }
    throw new OperatingError('keys', `${path} exists: the record is being changed`, {
      remedy: `if no other "manycast keys" runs, one was cut short: rm ${path}`,
      cause,
    });
  }
}
