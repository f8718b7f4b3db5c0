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
  readonly #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(field: string): number {
    return this.#view.getUint8(this.#take(1, field));
  }

  u16(field: string): number {
    return this.#view.getUint16(this.#take(2, field));
  }

  u32(field: string): number {
    return this.#view.getUint32(this.#take(4, field));
  }

  /** An unsigned 48-bit number; exact as a JavaScript number. */
  u48(field: string): number {
    const at = this.#take(6, field);
    return this.#view.getUint16(at) * 2 ** 32 + this.#view.getUint32(at + 2);
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

  /** Null when it is something else. */
  #ascii(at: number, length: number): string | null {
    let text = '';
    for (let i = at; i < at + length; i++) {
      const byte = this.#view.getUint8(i);
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

/** Appends fields in network byte order. What does not fit a field is a broken invariant of the caller. */
export class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  u8(value: number): this {
    const at = this.#place(value, 1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#place(value, 2);
    this.#view.setUint16(at, value);
    return this;
  }

  u32(value: number): this {
    const at = this.#place(value, 4);
    this.#view.setUint32(at, value);
    return this;
  }

  u48(value: number): this {
    const at = this.#place(value, 6);
    this.#view.setUint16(at, value / 2 ** 32);
    this.#view.setUint32(at + 2, value % 2 ** 32);
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

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Where a number of `size` bytes goes. */
  #place(value: number, size: number): number {
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size)) assert(false, `${value} fits ${size} bytes`);
    return this.#take(size);
  }

  /** Where the next `size` bytes go. */
  #take(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) this.#grow();
    return at;
  }

  #grow(): void {
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false;
  return true;
}
