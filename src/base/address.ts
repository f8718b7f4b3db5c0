import { assert, defined } from './assert.ts';
import { oneLine } from './one-line.ts';
import { ok, type Result, refuse } from './result.ts';

/** An IP address as a number of 32 (family 4) or 128 (family 6) bits. */
export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** Address width in bits. */
export function widthOf(family: 4 | 6): 32 | 128 {
  return family === 4 ? 32 : 128;
}

export function ipAddress(family: 4 | 6, value: bigint): IpAddress {
  assert(value >= 0n && value < 1n << BigInt(widthOf(family)), `address value fits ${widthOf(family)} bits`);
  return { family, value };
}

/** Dotted decimal, or RFC 4291 section 2.2 text (zone identifiers are refused). */
export function parseIp(text: string): Result<IpAddress> {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** As `parseIp`, of a text that is known to be an address: one of the program's own, or one that a schema has checked. */
export function addressOf(text: string): IpAddress {
  const parsed = parseIp(text);
  return defined(parsed.ok ? parsed.value : null, `the address ${text}`);
}

/** Dotted decimal, or the canonical text of RFC 5952 section 4. */
export function formatIp(address: IpAddress): string {
  return address.family === 4 ? formatIpv4(address.value) : formatIpv6(address.value);
}

/** Network byte order, 4 or 16 bytes. */
export function ipBytes(address: IpAddress): Uint8Array {
  const bytes = new Uint8Array(widthOf(address.family) / 8);
  let rest = address.value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/** From 4 or 16 bytes in network byte order. */
export function ipFromBytes(bytes: Uint8Array): IpAddress {
  assert(bytes.length === 4 || bytes.length === 16, 'an address has 4 or 16 bytes');
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return { family: bytes.length === 4 ? 4 : 6, value };
}

export function sameIp(a: IpAddress, b: IpAddress): boolean {
  return a.family === b.family && a.value === b.value;
}

/** 224.0.0.0/4 or ff00::/8. */
/** Of a single host: not multicast, not reserved, not `0.0.0.0/8` (RFC 6890). IPv4 only. */
export function isUnicast({ family, value }: IpAddress): boolean {
  return family === 4 && value >> 24n >= 1n && value >> 24n < 224n;
}

export function isMulticast(address: IpAddress): boolean {
  return address.family === 4 ? address.value >> 28n === 0xen : address.value >> 120n === 0xffn;
}

function parseIpv4(text: string): Result<IpAddress> {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return notAnAddress(text);
  let value = 0n;
  for (const part of match.slice(1)) {
    if (Number(part) > 255 || (part.length > 1 && part.startsWith('0'))) return notAnAddress(text);
    value = (value << 8n) | BigInt(part);
  }
  return ok({ family: 4, value });
}

function parseIpv6(text: string): Result<IpAddress> {
  const wrong = notAnAddress(text);
  const halves = text.split('::');
  if (halves.length > 2) return wrong;
  const head = groupsOf(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1] ?? '', true) : [];
  if (!head || !tail) return wrong;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return wrong;
  const groups = [...head, ...Array<bigint>(missing).fill(0n), ...tail];
  return ok({ family: 6, value: groups.reduce((value, group) => (value << 16n) | group, 0n) });
}

function notAnAddress(text: string): Result<IpAddress> {
  return refuse(`"${oneLine(text)}" is not an IP address`);
}

/** The 16-bit groups of one side of "::". A dotted quad counts as two; it may only be the end of the address. */
function groupsOf(text: string, atEnd: boolean): bigint[] | undefined {
  if (text === '') return [];
  const groups: bigint[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (part.includes('.') && atEnd && index === parts.length - 1) {
      const quad = parseIpv4(part);
      if (!quad.ok) return undefined;
      groups.push(quad.value.value >> 16n, quad.value.value & 0xffffn);
    } else if (/^[0-9a-f]{1,4}$/i.test(part)) {
      groups.push(BigInt(`0x${part}`));
    } else {
      return undefined;
    }
  }
  return groups;
}

function formatIpv4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.');
}

function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  const zeros = longestZeroRun(groups);
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (zeros.length < 2) return text(groups);
  return `${text(groups.slice(0, zeros.start))}::${text(groups.slice(zeros.start + zeros.length))}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
