import { decode, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { ipv4Flow, list, record, u48, type ValueOf } from './field.ts';
import { slots } from './ledger.ts';

/** UDP flows that a host keeps at most, of all slots that it has given away. */
export const keptMax = 16_384;

const kept = record({
  /** Grows with each that the sender's session says: what it says replaces all that it said before. */
  number: u48,
  /** Slots that the sender has given away, or is about to, to whom it speaks. */
  slots,
  /** UDP flows of those slots that stay with the sender, and no others do. Clients' ports may be 0 (RFC 768). */
  flows: list(keptMax, ipv4Flow),
});

/** The kernel of the sender drops what was named by the `kept` of this session and number. */
const known = record({ session: u48, number: u48 });

export type KeptFlows = ValueOf<typeof kept>;
export type Known = ValueOf<typeof known>;

export function encodeKept(value: KeptFlows): Uint8Array {
  const writer = new Writer();
  kept.write(writer, value);
  return writer.finish();
}

export function decodeKept(encoded: Uint8Array): Result<KeptFlows> {
  return decode(encoded, (reader) => kept.read(reader, 'kept'));
}

export function encodeKnown(value: Known): Uint8Array {
  const writer = new Writer();
  known.write(writer, value);
  return writer.finish();
}

export function decodeKnown(encoded: Uint8Array): Result<Known> {
  return decode(encoded, (reader) => known.read(reader, 'known'));
}
