import { closeSync, type FSWatcher, openSync, readSync, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

/** Long enough for an editor's write and rename to be one change, short enough to feel immediate. */
const quietMs = 50;
/** How often the file itself is looked at. */
const lookMs = 2000;
const contentBytesMax = 128 * 1024;

/**
 * Calls back with the content of a file whenever a save has changed it, also when the editor writes a new file and renames it over the
 * old one; within 2 s where the path leads elsewhere by links, of which the target is edited or another one is linked. A file that is away for a while, or
 * cannot be read, is no change.
 */
export function watchFile(path: string, onChange: (content: string) => void): { close(): void } {
  let standing = stampOf(path);
  let last = contentOf(path);
  let timer: NodeJS.Timeout | null = null;
  // The directory, because a watch on the file would stay with the old one after a rename.
  const watcher: FSWatcher = watch(dirname(path), (_event, name) => {
    if (name === null || name === basename(path)) soon();
  });
  // What changes behind a link is told of in no directory that is watched.
  const looking = setInterval(look, lookMs).unref();

  function look(): void {
    const stamp = stampOf(path);
    if (stamp === standing) return;
    standing = stamp;
    soon();
  }

  function soon(): void {
    if (timer) clearTimeout(timer);
    timer = setTimeout(read, quietMs);
  }

  function read(): void {
    const content = readableContentOf(path);
    if (content === null || content === last) return;
    last = content;
    onChange(content);
  }

  return {
    close(): void {
      if (timer) clearTimeout(timer);
      clearInterval(looking);
      watcher.close();
    },
  };
}

/** Another one whenever another file is there or its content was changed; null of one that cannot be looked at. */
function stampOf(path: string): string | null {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch {
    return null;
  }
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
