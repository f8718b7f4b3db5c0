import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { StateStore } from '../ports/state-store.ts';

/** A directory, one file a value; written aside, synced and renamed. */
export function openStateDirectory(path: string): StateStore {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new OperatingError('state-dir', `stateDir: ${messageOf(cause)}`, { cause });
  }
  return {
    read(name: string): Uint8Array | null {
      try {
        return readFileSync(join(path, name));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      }
    },
    write(name: string, value: Uint8Array): void {
      const aside = join(path, `${name}.new`);
      syncFile(aside, 'w', (fd) => writeSync(fd, value));
      renameSync(aside, join(path, name));
      syncFile(path, 'r', () => {});
    },
    remove(name: string): void {
      rmSync(join(path, name), { force: true });
    },
  };
}

function syncFile(path: string, flags: string, use: (fd: number) => void): void {
  const fd = openSync(path, flags, 0o600);
  try {
    use(fd);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
