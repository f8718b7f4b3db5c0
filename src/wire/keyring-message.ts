import { decode, type Reader, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { type Field, known, list, nodeName, oneOf, record, text, type ValueOf } from './field.ts';

/** Keys of a keyring that are told of at most. */
export const announcedKeysMax = 8;
const idBytesMax = 32;

/** What the sender's keyring holds, by the names of its keys, and to what others may encrypt a key for it. */
const announcement = record({
  kind: known('announcement'),
  ids: list(announcedKeysMax, text(idBytesMax)),
  use: text(idBytesMax),
  publicKey: exactly(32),
});

/** A key of the cluster for one member, encrypted. */
const gift = record({
  kind: known('gift'),
  to: nodeName,
  id: text(idBytesMax),
  /** The key of `to` that it is encrypted for, and that of the giver: X25519 (RFC 7748). */
  recipientKey: exactly(32),
  giverKey: exactly(32),
  /** AES-256-GCM. */
  nonce: exactly(12),
  sealed: exactly(48),
});

export type Announcement = ValueOf<typeof announcement>;
export type Gift = ValueOf<typeof gift>;
export type KeyringMessage = Announcement | Gift;

const messages = { announcement, gift };
const kinds = oneOf(['announcement', 'gift']);

export function encodeKeyringMessage(message: KeyringMessage): Uint8Array {
  const writer = new Writer();
  kinds.write(writer, message.kind);
  if (message.kind === 'gift') gift.write(writer, message);
  else announcement.write(writer, message);
  return writer.finish();
}

export function decodeKeyringMessage(body: Uint8Array): Result<KeyringMessage> {
  return decode(body, (reader) => {
    const kind = kinds.read(reader, 'kind');
    return messages[kind].read(reader, kind);
  });
}

function exactly(length: number): Field<Uint8Array> {
  return {
    read: (reader: Reader, name: string) => reader.bytes(length, name),
    write: (writer, value) => writer.bytes(value),
  };
}
