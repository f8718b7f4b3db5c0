/** What happened in a run: lines for people, and a hash over all of it, also what is too much to print. */
export class Trace {
  /** Null when nobody wants to read them. */
  readonly lines: string[] | null;
  #low = 0x811c9dc5;
  #high = 0x9747b28c;

  constructor(keepsLines: boolean) {
    this.lines = keepsLines ? [] : null;
  }

  fold(word: number): void {
    this.#fold(1, () => word);
  }

  foldBytes(bytes: Uint8Array): void {
    this.#fold(bytes.length, (i) => bytes[i] ?? 0);
  }

  line(at: number, text: string): void {
    const line = `${at.toFixed(3).padStart(10)} ${text}`;
    this.#fold(line.length, (i) => line.charCodeAt(i));
    this.lines?.push(line);
  }

  /** FNV-1a over 32-bit words, twice from different starts. */
  #fold(words: number, word: (index: number) => number): void {
    let low = this.#low;
    let high = this.#high;
    for (let i = 0; i < words; i++) {
      const next = word(i);
      low = Math.imul(low ^ next, 0x01000193);
      high = Math.imul(high ^ next ^ (next >>> 15), 0x01000193);
      high ^= high >>> 13;
    }
    this.#low = low;
    this.#high = high;
  }

  /** 16 hexadecimal digits. */
  hash(): string {
    return [this.#high, this.#low].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
  }
}
