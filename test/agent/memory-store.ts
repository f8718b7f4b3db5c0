import type { StateStore } from '../../src/ports/state-store.ts';

/** A disk in memory, for what does not test disks. */
export function createMemoryStore(): StateStore {
  const values = new Map<string, Uint8Array>();
  return {
    read: (name) => values.get(name) ?? null,
    write: (name, value) => void values.set(name, value.slice()),
    remove: (name) => void values.delete(name),
  };
}
