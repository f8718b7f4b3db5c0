import { decode, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { checked, flag, nodeNameOrNone, record, u16, u48 } from '../wire/field.ts';
import { encodeLedger, type Ledger, readLedger } from '../wire/ledger.ts';

/** What an agent must not forget: a vote given, and the ledger stored before it was answered. */
export interface Durable {
  readonly term: number;
  readonly follow: string | null;
  readonly ledger: Ledger | null;
}

const format = 1;

const head = record({
  format: checked(u16, (value) => (value === format ? null : `${value}, only ${format} is known`)),
  term: u48,
  follow: nodeNameOrNone,
  hasLedger: flag,
});

export function encodeDurable({ term, follow, ledger }: Durable): Uint8Array {
  const writer = new Writer();
  head.write(writer, { format, term, follow, hasLedger: ledger !== null });
  if (ledger) writer.bytes(encodeLedger(ledger));
  return writer.finish();
}

export function decodeDurable(encoded: Uint8Array): Result<Durable> {
  return decode(encoded, (reader) => {
    const { term, follow, hasLedger } = head.read(reader, 'state');
    return { term, follow, ledger: hasLedger ? readLedger(reader) : null };
  });
}
