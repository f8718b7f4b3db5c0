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
    const bytes = this.#bytes.subarray(at, at + length);
    if (length <= shortTextBytes && bytes.every((byte) => byte < 0x80)) return String.fromCharCode(...bytes);
    try {
      return utf8.decode(bytes);
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
  #length = 0;

  u8(value: number): this {
    return this.#number(value, 1);
  }

  u16(value: number): this {
    return this.#number(value, 2);
  }

  u32(value: number): this {
    return this.#number(value, 4);
  }

  u48(value: number): this {
    return this.#number(value, 6);
  }

  bytes(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  text(text: string): this {
    const bytes = encoder.encode(text);
    return this.u16(bytes.length).bytes(bytes);
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

  #number(value: number, size: number): this {
    assert(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size), `${value} fits ${size} bytes`);
    this.#reserve(size);
    for (let i = size - 1, rest = value; i >= 0; i--, rest = Math.floor(rest / 256)) {
      this.#bytes[this.#length + i] = rest % 256;
    }
    this.#length += size;
    return this;
  }

  #reserve(size: number): void {
    if (this.#length + size <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + size));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}
