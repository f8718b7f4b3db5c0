import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Puts new content in the place of a file, whole or not at all, also when the machine stops; on disk when this returns. Written aside, synced and
 * renamed, into a file of its own for the owner alone: one that is there already would keep its mode, or be somebody else's link.
 */
export function replaceSynced(path: string, content: string | Uint8Array): void {
  const aside = `${path}.new`;
  rmSync(aside, { force: true });
  write(aside, content);
  renameSync(aside, path);
  syncDirectory(dirname(path));
}

/** Makes a file for the owner alone, on disk when this returns. Throws EEXIST where there is something already. */
export function createSynced(path: string, content: string | Uint8Array): void {
  write(path, content);
  syncDirectory(dirname(path));
}

/** Until then a name that was given or changed there may be lost with the machine. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function write(path: string, content: string | Uint8Array): void {
  const fd = openSync(path, 'wx', 0o600);
  try {
    writeFileSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
