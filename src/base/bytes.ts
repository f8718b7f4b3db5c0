import { assert } from './assert.ts';
import { ok, type Result, refuse } from './result.ts';

// A byte order mark is text like any other: what was written is read, and no two texts read as one.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Names are this short, and there are many: ASCII needs no decoder, which takes longer to begin than they do. */
const shortTextBytes = 32;
const encoder = new TextEncoder();

/** Thrown by a Reader inside `decode`, and only there; it never leaves this module. */
class Malformed extends Error {}

/**
 * Reads hostile bytes in network byte order. Every read is bounded by what is left, every variable length by the
 * caller's maximum before anything is allocated; a refusal names the field.
 */
export class Reader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(field: string): number {
    return this.#byte(this.#take(1, field));
  }

  u16(field: string): number {
    return this.#pair(this.#take(2, field));
  }

  u32(field: string): number {
    const at = this.#take(4, field);
    return this.#pair(at) * 0x10000 + this.#pair(at + 2);
  }

  /** An unsigned 48-bit number; exact as a JavaScript number. */
  u48(field: string): number {
    const at = this.#take(6, field);
    return this.#pair(at) * 0x100000000 + this.#pair(at + 2) * 0x10000 + this.#pair(at + 4);
  }

  /** A copy of exactly `length` bytes. */
  bytes(length: number, field: string): Uint8Array {
    const at = this.#take(length, field);
    return this.#bytes.slice(at, at + length);
  }

  /** UTF-8 text behind a 16-bit length of at most `lengthMax` bytes. */
  text(lengthMax: number, field: string): string {
    const length = this.u16(field);
    if (length > lengthMax) this.refuse(`${field}: ${length} bytes, at most ${lengthMax}`);
    const at = this.#take(length, field);
    const short = length <= shortTextBytes ? this.#ascii(at, length) : null;
    if (short !== null) return short;
    try {
      return utf8.decode(this.#bytes.subarray(at, at + length));
    } catch {
      return this.refuse(`${field}: not UTF-8`);
    }
  }

  /** Items behind a 16-bit count of at most `countMax`. */
  list<T>(countMax: number, field: string, item: (index: number) => T): T[] {
    const count = this.u16(field);
    if (count > countMax) this.refuse(`${field}: ${count} items, at most ${countMax}`);
    const items: T[] = [];
    for (let index = 0; index < count; index++) items.push(item(index));
    return items;
  }

  refuse(reason: string): never {
    throw new Malformed(reason);
  }

  #byte(at: number): number {
    return this.#bytes[at] ?? 0;
  }

  #pair(at: number): number {
    return (this.#byte(at) << 8) | this.#byte(at + 1);
  }

  /** Null when it is something else. */
  #ascii(at: number, length: number): string | null {
    let text = '';
    for (let i = at; i < at + length; i++) {
      const byte = this.#bytes[i] ?? 0;
      if (byte >= 0x80) return null;
      text += String.fromCharCode(byte);
    }
    return text;
  }

  #take(length: number, field: string): number {
    if (length > this.remaining) this.refuse(`${field}: ${length} bytes wanted, ${this.remaining} left`);
    const at = this.#offset;
    this.#offset += length;
    return at;
  }
}

/** Reads the whole of `bytes` with `read`; leftovers are refused. */
export function decode<T>(bytes: Uint8Array, read: (reader: Reader) => T): Result<T> {
  const reader = new Reader(bytes);
  try {
    const value = read(reader);
    return reader.remaining === 0 ? ok(value) : refuse(`${reader.remaining} bytes left over`);
  } catch (error) {
    if (error instanceof Malformed) return refuse(error.message);
    throw error;
  }
}

/** What the last writer wrote into: most need it for no longer than it takes to write and copy. */
let spare: Uint8Array<ArrayBuffer> | null = null;
const spareBytesMax = 4096;
const nothing = new Uint8Array(0);

/** Appends fields in network byte order. What does not fit a field is a broken invariant of the caller. */
export class Writer {
  #bytes = spare ?? new Uint8Array(256);
  #length = 0;

  constructor() {
    spare = null;
  }

  u8(value: number): this {
    const at = this.#takeFor(value, 1, 0xff);
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#takeFor(value, 2, 0xffff);
    this.#pair(at, value);
    return this;
  }

  u32(value: number): this {
    const at = this.#takeFor(value, 4, 0xffffffff);
    this.#pair(at, value >>> 16);
    this.#pair(at + 2, value);
    return this;
  }

  u48(value: number): this {
    const at = this.#takeFor(value, 6, 0xffffffffffff);
    this.#pair(at, Math.floor(value / 0x100000000));
    this.#pair(at + 2, value >>> 16);
    this.#pair(at + 4, value);
    return this;
  }

  bytes(bytes: Uint8Array): this {
    const at = this.#take(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  text(text: string): this {
    if (!isAscii(text)) {
      const bytes = encoder.encode(text);
      return this.u16(bytes.length).bytes(bytes);
    }
    this.u16(text.length);
    const at = this.#take(text.length);
    for (let i = 0; i < text.length; i++) this.#bytes[at + i] = text.charCodeAt(i);
    return this;
  }

  list<T>(items: readonly T[], item: (item: T) => void): this {
    this.u16(items.length);
    for (const each of items) item(each);
    return this;
  }

  /** A copy of what was written, which ends the writer. */
  finish(): Uint8Array {
    const written = this.#bytes.slice(0, this.#length);
    if (this.#bytes.length <= spareBytesMax) spare = this.#bytes;
    this.#bytes = nothing;
    this.#length = 0;
    return written;
  }

  #takeFor(value: number, size: number, max: number): number {
    if (!Number.isInteger(value) || value < 0 || value > max) assert(false, `${value} fits ${size} bytes`);
    return this.#take(size);
  }

  /** The low 16 bits. */
  #pair(at: number, value: number): void {
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
  }

  /** Where the next `size` bytes go. */
  #take(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    return at;
  }
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false;
  return true;
}
