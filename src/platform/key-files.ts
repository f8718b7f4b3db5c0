import { createCipheriv, createPrivateKey, generateKeyPair, type KeyObject, pbkdf2, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, lstatSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';
import { messageAbout, messageOf, OperatingError } from '../base/operating-error.ts';
import { encryptedKeyPem } from '../identity/encrypted-key.ts';
import { createSynced, replaceSynced } from './synced-file.ts';

const keyBits = 2048;
/** OWASP's number of 2023 for PBKDF2 with HMAC-SHA256; some tenths of a second. */
const derivationIterations = 600_000;

export function keyPair(): Promise<{ publicKey: KeyObject; privateKey: KeyObject }> {
  return promisify(generateKeyPair)('rsa', { modulusLength: keyBits });
}

export function publicPem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

export function privatePem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

export async function encrypted(key: KeyObject, passphrase: string): Promise<string> {
  const salt = randomBytes(16);
  const initialVector = randomBytes(16);
  const derived = await promisify(pbkdf2)(passphrase, salt, derivationIterations, 32, 'sha256');
  const cipher = createCipheriv('aes-256-cbc', derived, initialVector);
  const ciphertext = Buffer.concat([cipher.update(key.export({ type: 'pkcs8', format: 'der' })), cipher.final()]);
  return encryptedKeyPem({ salt, iterations: derivationIterations, initialVector, ciphertext });
}

/** Null when it is none, or not with this passphrase: OpenSSL cannot always tell which. */
export function privateKeyOf(pem: string, passphrase?: string): KeyObject | null {
  try {
    return createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase });
  } catch {
    return null;
  }
}

export function checkAbsent(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })) throw exists(path);
}

function exists(path: string, cause?: unknown): OperatingError {
  return new OperatingError('keys', `${path} exists already and is left as it is`, { cause });
}

export function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const isFile = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    throw new OperatingError('keys', isFile ? `${path} is not a directory` : messageOf(cause), { cause });
  }
}

/** Paths and what is written there: all or none. */
export function writeAll(files: readonly (readonly [string, string])[]): void {
  for (const [i, [path, text]] of files.entries()) {
    try {
      writeNew(path, text);
    } catch (error) {
      for (const [written] of files.slice(0, i)) rmSync(written, { force: true });
      throw error;
    }
  }
}

export function writeNew(path: string, text: string): void {
  try {
    createSynced(path, text);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') throw exists(path, cause);
    throw new OperatingError('keys', messageOf(cause), { cause });
  }
}

export function readPrivate(path: string): string {
  const { text, mode } = readWithMode(path);
  if ((mode & 0o077) !== 0) {
    throw new OperatingError('certificates', `${path} can be read by others`, { remedy: `chmod 600 ${path}` });
  }
  return text;
}

export function readWithMode(path: string, remedy?: string): { text: string; mode: number } {
  try {
    const fd = openSync(path, 'r');
    try {
      return { mode: fstatSync(fd).mode, text: readFileSync(fd, 'utf8') };
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw new OperatingError('certificates', messageAbout(path, cause), {
      cause,
      ...(remedy === undefined ? {} : { remedy }),
    });
  }
}

/** Puts new content in the place of a file, whole or not at all. */
export function replaceFile(path: string, text: string): void {
  try {
    replaceSynced(path, text);
  } catch (cause) {
    throw new OperatingError('keys', messageOf(cause), { cause });
  }
}
