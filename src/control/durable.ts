import { decode, Writer } from '../base/bytes.ts';
import { crc32 } from '../base/crc32.ts';
import { type Result, refuse } from '../base/result.ts';
import { checked, flag, nodeNameOrNone, record, u16, u48 } from '../wire/field.ts';
import { encodeLedger, type Ledger, readLedger, type Voter, voterList } from '../wire/ledger.ts';

/** What an agent must not forget: a vote given, and the ledger stored before it was answered. */
export interface Durable {
  /** Number of this memory: an agent that has lost it comes back with another, and its earlier promises do not count. */
  readonly incarnation: number;
  /** Who votes until there is a ledger; empty for an agent that joins a cluster that others began. */
  readonly founders: readonly Voter[];
  readonly term: number;
  readonly follow: string | null;
  readonly ledger: Ledger | null;
}

const format = 2;
const checksumBytes = 4;

const head = record({
  format: checked(u16, (value) => (value === format ? null : `${value}, only ${format} is known`)),
  incarnation: u48,
  founders: voterList,
  term: u48,
  follow: nodeNameOrNone,
  hasLedger: flag,
});

/** Ends with a checksum of all before it. */
export function encodeDurable({ ledger, ...rest }: Durable): Uint8Array {
  const writer = new Writer();
  head.write(writer, { format, ...rest, hasLedger: ledger !== null });
  if (ledger) writer.bytes(encodeLedger(ledger));
  const content = writer.finish();
  return new Writer().bytes(content).u32(crc32(content)).finish();
}

export function decodeDurable(encoded: Uint8Array): Result<Durable> {
  if (encoded.length < checksumBytes) return refuse('it is empty');
  const content = encoded.subarray(0, -checksumBytes);
  const checksum = new DataView(encoded.buffer, encoded.byteOffset + content.length).getUint32(0);
  if (checksum !== crc32(content)) return refuse('its checksum is wrong');
  return decode(content, (reader) => {
    const { incarnation, founders, term, follow, hasLedger } = head.read(reader, 'state');
    return { incarnation, founders, term, follow, ledger: hasLedger ? readLedger(reader) : null };
  });
}
