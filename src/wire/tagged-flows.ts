import { decode, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { flag, ipv4Flow, list, record, u48, type ValueOf } from './field.ts';

/** TCP flows that a router tags for one replica at most. */
export const taggedMax = 16_384;

const tags = record({
  /** Of the flows, grows within the sender's session whenever they are others than before. */
  number: u48,
  /** These are all of them, and replace what was said before; else none are named, and what was said under this number holds on. */
  isWhole: flag,
  /** TCP flows of slots that the sender has given away, or is about to: their packets are to go to it, whoever owns the slot. */
  flows: list(taggedMax, ipv4Flow),
});

/** Longest encoded value, bytes. */
export const tagsBytesMax = 6 + 1 + 2 + taggedMax * 8;

export type TagsSaid = ValueOf<typeof tags>;

export function encodeTags(value: TagsSaid): Uint8Array {
  const writer = new Writer();
  tags.write(writer, value);
  return writer.finish();
}

export function decodeTags(encoded: Uint8Array): Result<TagsSaid> {
  return decode(encoded, (reader) => tags.read(reader, 'tags'));
}
