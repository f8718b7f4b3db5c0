/** A few named values that survive a crash of the process or the machine. */
export interface StateStore {
  /** Null when the value was never written. */
  read(name: string): Uint8Array | null;
  /** On disk, whole, before it returns; a crash leaves the old value or the new one. */
  write(name: string, value: Uint8Array): void;
  remove(name: string): void;
}
