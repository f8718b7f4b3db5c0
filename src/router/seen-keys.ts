/** The random keys of joins that counted: none counts twice. Forged joins leave nothing here. */
export class SeenKeys {
  /** With the instant each came at, oldest first. */
  readonly #keys = new Map<string, number>();
  readonly #keysMax: number;
  readonly #keepMs: number;

  /** A key is kept for `keepMs`: twice the window, as a join from the window's far end is timely for that long. */
  constructor({ keysMax, keepMs }: { readonly keysMax: number; readonly keepMs: number }) {
    this.#keysMax = keysMax;
    this.#keepMs = keepMs;
  }

  /** `key` has 16 bytes. */
  has(key: Uint8Array): boolean {
    return this.#keys.has(textOf(key));
  }

  /** False when there is no room: one that is still wanted never makes room, or what it belongs to could come again. */
  hasRoom(nowMs: number): boolean {
    for (const [key, cameMs] of this.#keys) {
      if (nowMs - cameMs <= this.#keepMs) break;
      this.#keys.delete(key);
    }
    return this.#keys.size < this.#keysMax;
  }

  add(key: Uint8Array, nowMs: number): void {
    this.#keys.set(textOf(key), nowMs);
  }
}

/** Two bytes a character. */
function textOf(key: Uint8Array): string {
  const two = (at: number): number => ((key[at] ?? 0) << 8) | (key[at + 1] ?? 0);
  return String.fromCharCode(two(0), two(2), two(4), two(6), two(8), two(10), two(12), two(14));
}
