import { addKey, keyNames, newKeyring, removeKey, useKey } from '../platform/keyring.ts';

export async function makeKeyring({ out }: { out: string }): Promise<void> {
  newKeyring(out);
  process.stdout.write(`${out} written, readable by you alone; copy it to every replica over a safe channel\n`);
}

export async function add(file: string): Promise<void> {
  const id = addKey(file);
  process.stdout.write(`${id} added; copy the file to every replica, then: manycast keyring use ${file} ${id}\n`);
}

export async function use(file: string, key: string): Promise<void> {
  useKey(file, key);
  process.stdout.write(`${key} signs now; copy the file to every replica before you remove another key\n`);
}

export async function remove(file: string, key: string): Promise<void> {
  removeKey(file, key);
  process.stdout.write(`${key} removed\n`);
}

export async function listKeys(file: string): Promise<void> {
  const { use: signing, names } = keyNames(file);
  for (const name of names) process.stdout.write(`${name}${name === signing ? '  signs' : ''}\n`);
}
