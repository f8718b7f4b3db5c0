import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { OperatingError } from '../base/operating-error.ts';
import { authorityOf, memberOf } from '../identity/member-name.ts';
import {
  beginChange,
  checkChangeDone,
  checkNoChange,
  finishChange,
  revokeMembers,
  toRevoke,
} from '../platform/authority-change.ts';
import {
  type Authority,
  authorityFiles,
  checkNewAuthority,
  checkNewMembers,
  issueMember,
  makeAuthority,
  readAuthority,
  readCertificates,
  serialOf,
  unlockAuthority,
} from '../platform/certificates.ts';
import { type IssuedCertificate, readIssued } from '../platform/issued-certificates.ts';

const daysMax = 3650;

export async function init(directory: string, { cluster }: { cluster: string }): Promise<void> {
  checkNewAuthority(directory, cluster);
  const [certificate, key, revoked] = await makeAuthority(directory, cluster, await newPassphrase());
  process.stdout.write(`${certificate} written: copy it to every replica\n`);
  process.stdout.write(`${key} written, encrypted: it stays here, for whoever has it makes members\n`);
  process.stdout.write(
    `${revoked} written: who is revoked, nobody yet; copy it wherever agent.yaml names such a file\n`,
  );
}

export async function issue(
  directory: string,
  replicas: readonly string[],
  { days, out = directory }: { days: string; out?: string },
): Promise<void> {
  const dayCount = daysOf(days);
  const authority = readAuthority(directory);
  checkNewMembers(replicas, out);
  const key = unlockAuthority(authority, await knownPassphrase());
  for (const replica of replicas) {
    const issued = await issueMember(authority, key, { replica, days: dayCount, out });
    process.stdout.write(
      `${issued.certificate} and ${issued.key} written, good until ${dateOf(issued.notAfter)}: copy both to ${replica} over a safe channel\n`,
    );
  }
}

export async function list(directory: string, { json }: { json?: boolean }): Promise<void> {
  const authority = readAuthority(directory);
  for (const entry of readIssued(directory)) {
    const { serial, replica, notBefore, notAfter } = entry;
    const state = stateOf(entry, authority);
    const line = json
      ? JSON.stringify({ serial, replica, notBefore, notAfter, revokedAt: entry.revokedAt, state })
      : `${serial}  ${replica.padEnd(32)}  ${dateOf(notBefore)} to ${dateOf(notAfter)}  ${state}`;
    process.stdout.write(`${line}\n`);
  }
}

export async function revoke(directory: string, which: readonly string[]): Promise<void> {
  const authority = readAuthority(directory);
  const entries = toRevoke(authority, which);
  const path = revokeMembers(authority, await knownPassphrase(), entries);
  for (const { replica, serial } of entries) process.stdout.write(`${serial} of ${replica} revoked\n`);
  process.stdout.write(`${path} written: copy it to every replica, and publish it: manycast registry add\n`);
}

export async function rotate(directory: string, { finish }: { finish?: boolean }): Promise<void> {
  const authority = readAuthority(directory);
  const { certificate, revoked } = authorityFiles(directory);
  if (finish) {
    checkChangeDone(authority);
    finishChange(authority, await knownPassphrase());
    process.stdout.write(`the old key is forgotten: copy ${certificate} and ${revoked} to every replica\n`);
    return;
  }
  checkNoChange(authority);
  await beginChange(authority, await knownPassphrase());
  process.stdout.write(
    `${certificate} holds the new certificate and the old one: copy it and ${revoked} to every replica\n`,
  );
  process.stdout.write('then issue every replica a new certificate; then: manycast keys rotate DIRECTORY --finish\n');
}

export async function show(file: string): Promise<void> {
  for (const certificate of readCertificates(file, 2)) {
    const authority = authorityOf(certificate);
    const member = memberOf(certificate);
    if (!authority.ok && !member.ok) throw new OperatingError('keys', `${file}: it is no certificate of a cluster`);
    const { validFrom, validTo, fingerprint256 } = certificate;
    const state =
      Date.now() > Date.parse(validTo) ? ', expired' : Date.now() < Date.parse(validFrom) ? ', not yet' : '';
    const lines = [
      ['whose', authority.ok ? `authority of cluster ${authority.value}` : ''],
      ['whose', member.ok ? `replica ${member.value.replica} of cluster ${member.value.cluster}` : ''],
      ['good', `${dateOf(new Date(validFrom))} to ${dateOf(new Date(validTo))}${state}`],
      ['serial', serialOf(certificate)],
      ['SHA-256', fingerprint256.toLowerCase()],
    ];
    for (const [what = '', value] of lines) if (value) process.stdout.write(`${what.padEnd(8)} ${value}\n`);
  }
}

function stateOf({ revokedAt, notAfter, authority }: IssuedCertificate, { certificate, old }: Authority): string {
  if (revokedAt) return `revoked ${dateOf(revokedAt)}`;
  if (notAfter < new Date()) return 'expired';
  if (authority === serialOf(certificate)) return 'good';
  return old && authority === serialOf(old) ? 'good, by the old key' : 'by a key that is forgotten';
}

function daysOf(text: string): number {
  const days = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (days >= 1 && days <= daysMax) return days;
  throw new OperatingError('keys', `--days: "${text}" is not allowed, allowed are 1 to ${daysMax}`);
}

/** As UTC, to the second. */
function dateOf(date: Date): string {
  return date.toISOString().replace(/T(.*)\.\d+Z$/, ' $1 UTC');
}

async function newPassphrase(): Promise<string> {
  const given = process.env.MANYCAST_KEYS_PASSPHRASE;
  if (given !== undefined) return given;
  const passphrase = await ask('passphrase for the new key: ');
  if ((await ask('once more: ')) !== passphrase) throw new OperatingError('keys', 'the two passphrases differ');
  return passphrase;
}

async function knownPassphrase(): Promise<string> {
  return process.env.MANYCAST_KEYS_PASSPHRASE ?? (await ask("passphrase of the authority's key: "));
}

/** A line from the terminal, which does not show it. */
function ask(question: string): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new OperatingError('keys', 'there is no terminal to ask for the passphrase', {
      remedy: 'give it in the environment: MANYCAST_KEYS_PASSPHRASE',
    });
  }
  // Readline takes the terminal's echo upon itself, and what it echoes goes nowhere.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 });
  // Whoever answers at once is not echoed, and control-C is readline's to read.
  process.stderr.write(question);
  return new Promise((resolve, reject) => {
    terminal.once('line', resolve);
    terminal.once('close', () => reject(new OperatingError('keys', 'no passphrase was given')));
    terminal.once('SIGINT', () => terminal.close());
    terminal.once('line', () => terminal.close());
    terminal.once('close', () => process.stderr.write('\n'));
  });
}
