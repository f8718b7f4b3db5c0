import { type IpAddress, ipAddress } from '../base/address.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { bytes, type Field, flag, list, oneOf, record, u16, u32, type ValueOf } from './field.ts';

/** Sessions that move together. */
export const batchSessionsMax = 64;
/** What an application tells of one session. */
export const sessionBytesMax = 32 * 1024;
/** The longest datagram of UDP over IPv4. */
export const payloadBytesMax = 65_507;

/** 32 bits: IPv4 only, as the data plane. */
const client: Field<IpAddress> = {
  read: (reader: Reader, name: string) => ipAddress(4, BigInt(reader.u32(name))),
  write: (writer, value) => writer.u32(Number(value.value)),
};

const messages = {
  /** Sessions that stand still at the sender, which the receiver shall have. `number` grows with each. */
  offer: record({
    number: u32,
    servicePort: u16,
    sessions: list(batchSessionsMax, record({ client, clientPort: u16, state: bytes(sessionBytesMax) })),
  }),
  /** Whether an application has all of that offer now. They are the sender's until it hears this. */
  answer: record({ number: u32, isTaken: flag }),
  /** The sessions of that offer stay where they were. */
  withdraw: record({ number: u32 }),
  /** A datagram of a session that was the sender's, which its kernel took still. */
  pass: record({ client, clientPort: u16, servicePort: u16, datagram: bytes(payloadBytesMax) }),
} as const;

type Messages = typeof messages;
type Kind = keyof Messages;

/** What two agents tell each other to move sessions of UDP from one to the other. */
export type SessionMessage = { [K in Kind]: { readonly kind: K } & ValueOf<Messages[K]> }[Kind];

const kinds = Object.keys(messages) as Kind[];
const kindField = oneOf(kinds);

/** A kind, one byte, then its fields in the order above. */
export function encodeSession(message: SessionMessage): Uint8Array {
  const writer = new Writer();
  kindField.write(writer, message.kind);
  (messages[message.kind] as Field<unknown>).write(writer, message);
  return writer.finish();
}

export function decodeSession(encoded: Uint8Array): Result<SessionMessage> {
  return decode(encoded, (reader) => {
    const kind = kindField.read(reader, 'kind');
    return { kind, ...(messages[kind] as Field<object>).read(reader, kind) } as SessionMessage;
  });
}
