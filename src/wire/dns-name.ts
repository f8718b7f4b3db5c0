import { assert } from '../base/assert.ts';

/**
 * Domain names as text: labels between dots, without one at the end, so the root is the empty text. Bytes other than letters, digits,
 * "-" and "_" are `\DDD` (RFC 1035, section 5.1): no two names read as one, and the case stays as it came (RFC 4343).
 */
const labelBytesMax = 63;
export const nameBytesMax = 255;
const pointerMark = 0xc0;

/** A name in a message, and where what follows it begins; or what is wrong with it. */
export function nameAt(
  message: Uint8Array,
  start: number,
): { readonly name: string; readonly end: number } | { readonly complaint: string } {
  const labels: string[] = [];
  let bytes = 1;
  let at = start;
  let end: number | null = null;
  // A pointer leads to before where its name or the pointer to it began: however they are laid, they come to an end.
  let before = start;
  for (;;) {
    const length = message[at];
    if (length === undefined) return { complaint: 'it ends within the message' };
    if (length === 0) return { name: labels.join('.'), end: end ?? at + 1 };
    if (length >= pointerMark) {
      const low = message[at + 1];
      if (low === undefined) return { complaint: 'it ends within the message' };
      end ??= at + 2;
      at = ((length & 0x3f) << 8) | low;
      if (at >= before) return { complaint: 'a pointer does not lead back' };
      before = at;
      continue;
    }
    if (length > labelBytesMax) return { complaint: 'a label is of an unknown kind' };
    bytes += length + 1;
    if (bytes > nameBytesMax) return { complaint: `more than ${nameBytesMax} bytes` };
    if (at + 1 + length > message.length) return { complaint: 'it ends within the message' };
    labels.push(labelText(message.subarray(at + 1, at + 1 + length)));
    at += length + 1;
  }
}

/** Not compressed. A text that is no name is a broken invariant: `isName` tells. */
export function nameBytes(name: string): Uint8Array {
  const labels = labelsOf(name).map(labelBytes);
  const bytes = Uint8Array.from([...labels.flatMap((label) => [label.length, ...label]), 0]);
  assert(bytes.length <= nameBytesMax && labels.every(isLabel), `"${name}" is a domain name`);
  return bytes;
}

/** Whether a text is a name of at most 255 bytes as it stands in a message. */
export function isName(name: string): boolean {
  const labels = labelsOf(name).map(labelBytes);
  return labels.every(isLabel) && labels.reduce((sum, { length }) => sum + length + 1, 1) <= nameBytesMax;
}

export function labelsOf(name: string): string[] {
  return name === '' ? [] : name.split('.');
}

/** For comparing: letters of ASCII alone have two cases. */
export function foldName(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Whether a name is `zone`, or below it. Both folded. */
export function isWithin(name: string, zone: string): boolean {
  return zone === '' || name === zone || name.endsWith(`.${zone}`);
}

function labelText(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    text += /[A-Za-z0-9_-]/.test(character) ? character : `\\${byte.toString().padStart(3, '0')}`;
  }
  return text;
}

/** Empty, which is no label, for what is not written as above. */
function labelBytes(label: string): number[] {
  if (!/^([A-Za-z0-9_-]|\\\d{3})*$/.test(label)) return [];
  const parts = label.match(/\\\d{3}|./g) ?? [];
  const bytes = parts.map((part) => (part.length > 1 ? Number(part.slice(1)) : part.charCodeAt(0)));
  return bytes.some((byte) => byte > 255) ? [] : bytes;
}

function isLabel({ length }: readonly number[]): boolean {
  return length >= 1 && length <= labelBytesMax;
}
