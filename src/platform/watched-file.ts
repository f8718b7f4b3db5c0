import { closeSync, type FSWatcher, openSync, readSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

/** Long enough for an editor's write and rename to be one change, short enough to feel immediate. */
const quietMs = 50;
const contentBytesMax = 128 * 1024;

/**
 * Calls back with the content of a file whenever a save has changed it, also when the editor writes a new file and renames it over the
 * old one. A file that is away for a while, or cannot be read, is no change.
 */
export function watchFile(path: string, onChange: (content: string) => void): { close(): void } {
  let last = contentOf(path);
  let timer: NodeJS.Timeout | null = null;
  // The directory, because a watch on the file would stay with the old one after a rename.
  const watcher: FSWatcher = watch(dirname(path), (_event, name) => {
    if (name !== null && name !== basename(path)) return;
    if (timer) clearTimeout(timer);
    timer = setTimeout(read, quietMs);
  });

  function read(): void {
    const content = readableContentOf(path);
    if (content === null || content === last) return;
    last = content;
    onChange(content);
  }

  return {
    close(): void {
      if (timer) clearTimeout(timer);
      watcher.close();
    },
  };
}

/** Nobody waits here to be told of a failure: thrown from a timer, it would end the agent. */
function readableContentOf(path: string): string | null {
  try {
    return contentOf(path);
  } catch {
    return null;
  }
}

/** Null when there is no such file. Of a file longer than any policy only the beginning is read, which is refused for its length. */
export function contentOf(path: string): string | null {
  try {
    const fd = openSync(path, 'r');
    try {
      const buffer = new Uint8Array(contentBytesMax);
      return new TextDecoder().decode(buffer.subarray(0, readSync(fd, buffer)));
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
