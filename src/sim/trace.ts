/** What happened in a run: lines for people, and a hash over all of it, also what is too much to print. */
export class Trace {
  /** Null when nobody wants to read them. */
  readonly lines: string[] | null;
  #low = 0x811c9dc5;
  #high = 0x9747b28c;

  constructor(keepsLines: boolean) {
    this.lines = keepsLines ? [] : null;
  }

  /** FNV-1a over 32-bit words, twice from different starts. */
  fold(word: number): void {
    this.#low = Math.imul(this.#low ^ word, 0x01000193);
    this.#high = Math.imul(this.#high ^ word ^ (word >>> 15), 0x01000193);
    this.#high ^= this.#high >>> 13;
  }

  foldBytes(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) this.fold(bytes[i] ?? 0);
  }

  line(at: number, text: string): void {
    const line = `${at.toFixed(3).padStart(10)} ${text}`;
    for (let i = 0; i < line.length; i++) this.fold(line.charCodeAt(i));
    this.lines?.push(line);
  }

  /** 16 hexadecimal digits. */
  hash(): string {
    return [this.#high, this.#low].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
  }
}
