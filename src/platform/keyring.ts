import { createHash, createHmac, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { messageOf, OperatingError } from '../base/operating-error.ts';

const secretBytes = 32;

const keyringSchema = z.strictObject({
  version: z.literal(1),
  /** The key that signs; every listed key verifies. */
  use: z.string(),
  keys: z.record(z.string(), z.base64()),
});

/** The keys that authenticate the control channel: the first signs, all verify. */
export type Keyring = readonly Uint8Array[];

/** Writes a keyring with one fresh key, readable by its owner only. An existing file is never touched. */
export function newKeyring(path: string): void {
  const keyring = { version: 1, use: 'k1', keys: { k1: randomBytes(secretBytes).toString('base64') } };
  try {
    writeFileSync(path, `${JSON.stringify(keyring, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    throw new OperatingError('keyring', exists ? `${path} exists already and is left as it is` : messageOf(cause), {
      cause,
    });
  }
}

export function readKeyring(path: string): Keyring {
  const { text, mode } = readPrivately(path);
  if ((mode & 0o077) !== 0) {
    throw new OperatingError('keyring', `keyring ${path} can be read by others`, { remedy: `chmod 600 ${path}` });
  }
  const parsed = keyringSchema.safeParse(parseJson(text));
  const used = parsed.success ? parsed.data.keys[parsed.data.use] : undefined;
  if (!parsed.success || used === undefined) {
    throw new OperatingError('keyring', `keyring ${path} is not a keyring file`, {
      remedy: 'make one: manycast keyring new --out FILE',
    });
  }
  const others = Object.entries(parsed.data.keys).filter(([id]) => id !== parsed.data.use);
  const keys = [used, ...others.map(([, key]) => key)].map((key) => new Uint8Array(Buffer.from(key, 'base64')));
  if (keys.some((key) => key.length !== secretBytes))
    throw new OperatingError('keyring', `keyring ${path}: a key has not ${secretBytes} bytes`);
  return keys;
}

export function hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return createHmac('sha256', key).update(bytes).digest();
}

export function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}

function readPrivately(path: string): { text: string; mode: number } {
  try {
    const fd = openSync(path, 'r');
    try {
      return { mode: fstatSync(fd).mode, text: readFileSync(fd, 'utf8') };
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw new OperatingError('keyring', `keyring: ${messageOf(cause)}`, {
      remedy: 'make one: manycast keyring new --out FILE',
      cause,
    });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
