import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { StateStore } from '../ports/state-store.ts';
import { replaceSynced } from './synced-file.ts';

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
      replaceSynced(join(path, name), value);
    },
    remove(name: string): void {
      rmSync(join(path, name), { force: true });
    },
  };
}
