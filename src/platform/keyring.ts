import { createHash, createHmac, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { messageAbout, messageOf, OperatingError } from '../base/operating-error.ts';
import { createSynced, replaceSynced } from './synced-file.ts';

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
  try {
    createSynced(path, textOf({ version: 1, use: 'k1', keys: { k1: freshKey() } }));
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    throw new OperatingError('keyring', exists ? `${path} exists already and is left as it is` : messageOf(cause), {
      cause,
    });
  }
}

/** Adds a fresh key that verifies and does not sign yet; returns its name. Every agent must have it before any signs with it. */
export function addKey(path: string): string {
  const file = readKeyringFile(path);
  const numbers = Object.keys(file.keys).map((id) => Number(/^k(\d+)$/.exec(id)?.[1] ?? 0));
  const id = `k${Math.max(0, ...numbers) + 1}`;
  writeKeyringFile(path, { ...file, keys: { ...file.keys, [id]: freshKey() } });
  return id;
}

/** Adds a key under a name of its own, which verifies and does not sign yet; what has that name already stays. */
export function addKeyAs(path: string, id: string, secret: Uint8Array): void {
  const file = readKeyringFile(path);
  if (file.keys[id] !== undefined) return;
  writeKeyringFile(path, { ...file, keys: { ...file.keys, [id]: Buffer.from(secret).toString('base64') } });
}

/** Signs with another key from now on. */
export function useKey(path: string, id: string): void {
  const file = readKeyringFile(path);
  checkKey(path, file, id);
  writeKeyringFile(path, { ...file, use: id });
}

/** Forgets a key that no agent signs with any more; the one in use stays. */
export function removeKey(path: string, id: string): void {
  const file = readKeyringFile(path);
  checkKey(path, file, id);
  if (id === file.use) {
    throw new OperatingError('keyring', `keyring ${path}: "${id}" is in use`, { remedy: 'use another key first' });
  }
  const keys = Object.fromEntries(Object.entries(file.keys).filter(([each]) => each !== id));
  writeKeyringFile(path, { ...file, keys });
}

/** Names of the keys, and of the one in use; no secrets. */
export function keyNames(path: string): { readonly use: string; readonly names: readonly string[] } {
  const { use, keys } = readKeyringFile(path);
  return { use, names: Object.keys(keys) };
}

/** By name, and the name of the one in use. */
export function readKeys(path: string): { readonly use: string; readonly keys: ReadonlyMap<string, Uint8Array> } {
  const { use, keys } = readKeyringFile(path);
  const entries = Object.entries(keys).map(([id, key]) => [id, new Uint8Array(Buffer.from(key, 'base64'))] as const);
  return { use, keys: new Map(entries) };
}

export function readKeyring(path: string): Keyring {
  const { use, keys } = readKeyringFile(path);
  const others = Object.keys(keys).filter((id) => id !== use);
  return [use, ...others].map((id) => new Uint8Array(Buffer.from(keys[id] ?? '', 'base64')));
}

type KeyringFile = z.output<typeof keyringSchema>;

function readKeyringFile(path: string): KeyringFile {
  const { text, mode } = readPrivately(path);
  if ((mode & 0o077) !== 0) {
    throw new OperatingError('keyring', `keyring ${path} can be read by others`, { remedy: `chmod 600 ${path}` });
  }
  const parsed = keyringSchema.safeParse(parseJson(text));
  if (!parsed.success || parsed.data.keys[parsed.data.use] === undefined) {
    throw new OperatingError('keyring', `keyring ${path} is not a keyring file`, {
      remedy: 'make one: manycast keyring new --out FILE',
    });
  }
  if (Object.values(parsed.data.keys).some((key) => Buffer.from(key, 'base64').length !== secretBytes)) {
    throw new OperatingError('keyring', `keyring ${path}: a key has not ${secretBytes} bytes`);
  }
  return parsed.data;
}

/** An agent that watches it reads the old one or the new one. */
function writeKeyringFile(path: string, file: KeyringFile): void {
  replaceSynced(path, textOf(file));
}

function textOf(file: KeyringFile): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}

function freshKey(): string {
  return Buffer.from(freshSecret()).toString('base64');
}

export function freshSecret(): Uint8Array {
  return randomBytes(secretBytes);
}

function checkKey(path: string, { keys }: KeyringFile, id: string): void {
  if (keys[id] !== undefined) return;
  throw new OperatingError(
    'keyring',
    `keyring ${path} has no key "${id}", allowed are ${Object.keys(keys).join(', ')}`,
  );
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
    throw new OperatingError('keyring', `keyring: ${messageAbout(path, cause)}`, {
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
