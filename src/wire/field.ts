import { type IpAddress, ipAddress, ipBytes, ipFromBytes } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import type { Reader, Writer } from '../base/bytes.ts';
import { type MacAddress, macBytes, macFromBytes } from '../base/mac.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';

/** How one value stands on the wire. Decoding and encoding read the same field, so they cannot disagree. */
export interface Field<T> {
  read(reader: Reader, name: string): T;
  write(writer: Writer, value: T): void;
}

export type ValueOf<F> = F extends Field<infer T> ? T : never;

export const u16: Field<number> = {
  read: (reader, name) => reader.u16(name),
  write: (writer, value) => writer.u16(value),
};

export const u32: Field<number> = {
  read: (reader, name) => reader.u32(name),
  write: (writer, value) => writer.u32(value),
};

export const u48: Field<number> = {
  read: (reader, name) => reader.u48(name),
  write: (writer, value) => writer.u48(value),
};

/** No byte at all: what the reader knows by then. */
export function known<const T>(value: T): Field<T> {
  return { read: () => value, write() {} };
}

/** One byte, 0 or 1. */
export const flag: Field<boolean> = {
  read(reader: Reader, name: string): boolean {
    const value = reader.u8(name);
    return value > 1 ? reader.refuse(`${name}: ${value} is neither 0 nor 1`) : value === 1;
  },
  write: (writer, value) => writer.u8(value ? 1 : 0),
};

/** UTF-8 behind a 16-bit length. */
export function text(bytesMax: number): Field<string> {
  return {
    read: (reader, name) => reader.text(bytesMax, name),
    write(writer: Writer, value: string): void {
      // UTF-8 takes at most three bytes for each UTF-16 unit.
      const fits = value.length * 3 <= bytesMax || new TextEncoder().encode(value).length <= bytesMax;
      assert(fits, `text has at most ${bytesMax} bytes`);
      writer.text(value);
    },
  };
}

/** Bytes behind a 16-bit length. */
export function bytes(lengthMax: number): Field<Uint8Array> {
  return {
    read(reader: Reader, name: string): Uint8Array {
      const length = reader.u16(name);
      return length > lengthMax
        ? reader.refuse(`${name}: ${length} bytes, at most ${lengthMax}`)
        : reader.bytes(length, name);
    },
    write(writer: Writer, value: Uint8Array): void {
      assert(value.length <= lengthMax, `at most ${lengthMax} bytes`);
      writer.u16(value.length).bytes(value);
    },
  };
}

/** One byte, the value's place in `values`. */
export function oneOf<const T extends string>(values: readonly T[]): Field<T> {
  return {
    read(reader: Reader, name: string): T {
      const index = reader.u8(name);
      return values[index] ?? reader.refuse(`${name}: ${index}, at most ${values.length - 1}`);
    },
    write: (writer, value) => writer.u8(values.indexOf(value)),
  };
}

/** Items behind a 16-bit count. */
export function list<T>(countMax: number, item: Field<T>): Field<readonly T[]> {
  return {
    read: (reader, name) => reader.list(countMax, name, (index) => item.read(reader, `${name}[${index}]`)),
    write(writer: Writer, value: readonly T[]): void {
      assert(value.length <= countMax, `at most ${countMax} items`);
      writer.list(value, (each) => item.write(writer, each));
    },
  };
}

/** Fields one after another, in the order of the table. */
export function record<F extends Record<string, Field<unknown>>>(
  fields: F,
): Field<{ readonly [K in keyof F]: ValueOf<F[K]> }> {
  const entries = Object.entries(fields);
  return {
    read(reader) {
      const value: Record<string, unknown> = {};
      for (const [name, field] of entries) value[name] = field.read(reader, name);
      return value as { readonly [K in keyof F]: ValueOf<F[K]> };
    },
    write(writer: Writer, value: { readonly [K in keyof F]: ValueOf<F[K]> }): void {
      for (const [name, field] of entries) field.write(writer, value[name]);
    },
  };
}

/** `field`, whose value must also pass `check`; its answer is the complaint, or null. */
export function checked<T>(field: Field<T>, check: (value: T) => string | null): Field<T> {
  return {
    read(reader: Reader, name: string): T {
      const value = field.read(reader, name);
      const complaint = check(value);
      return complaint === null ? value : reader.refuse(`${name}: ${complaint}`);
    },
    write: (writer, value) => field.write(writer, value),
  };
}

/** A link address: 6 bytes. */
export const mac: Field<MacAddress> = {
  read: (reader, name) => macFromBytes(reader.bytes(6, name)),
  write: (writer, value) => writer.bytes(macBytes(value)),
};

/** One byte of family, 4 or 6, and the address. */
const address: Field<IpAddress> = {
  read(reader: Reader, name: string): IpAddress {
    const family = reader.u8(name);
    if (family !== 4 && family !== 6) return reader.refuse(`${name}: family ${family}`);
    return ipFromBytes(reader.bytes(family === 4 ? 4 : 16, name));
  },
  write: (writer, value) => writer.u8(value.family).bytes(ipBytes(value)),
};

/** A TCP connection of the service address: at most 21 bytes. */
export const tcpFlow: Field<TcpFlow> = record({ client: address, clientPort: u16, servicePort: u16 });

/** 32 bits: IPv4 only, as the data plane. */
const ipv4: Field<IpAddress> = {
  read: (reader, name) => ipAddress(4, BigInt(reader.u32(name))),
  write: (writer, value) => writer.u32(Number(value.value)),
};

/** A flow of the service address, where there are many: 8 bytes. */
export const ipv4Flow: Field<TcpFlow> = record({ client: ipv4, clientPort: u16, servicePort: u16 });

/** Longest name of an agent, in bytes; all of them are ASCII. */
export const nameBytesMax = 32;

const nameText = text(nameBytesMax);

/** Names that were read of late: each is one string, which is found and compared faster than many that are equal. */
const readNames = new Map<string, string>();
const readNamesMax = 1024;

function isName(value: string): boolean {
  return /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/.test(value);
}

/** The name of an agent. */
export const nodeName: Field<string> = {
  read(reader: Reader, name: string): string {
    const value = nameText.read(reader, name);
    const known = readNames.get(value);
    if (known !== undefined) return known;
    if (!isName(value)) return reader.refuse(`${name}: not a name`);
    if (readNames.size >= readNamesMax) readNames.clear();
    readNames.set(value, value);
    return value;
  },
  write: nameText.write,
};

/** The name of an agent, or nobody: an empty text. */
export const nodeNameOrNone: Field<string | null> = {
  read(reader: Reader, name: string): string | null {
    const value = reader.text(nameBytesMax, name);
    if (value === '') return null;
    return readNames.get(value) ?? (isName(value) ? value : reader.refuse(`${name}: not a name`));
  },
  write: (writer, value) => writer.text(value ?? ''),
};
