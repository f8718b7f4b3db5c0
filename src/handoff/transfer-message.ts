import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import { oneLine } from '../base/one-line.ts';
import type { Result } from '../base/result.ts';
import { type Field, list, oneOf, record, tcpFlow, text, u16, u32, type ValueOf } from '../wire/field.ts';
import { imageBytesMax } from './socket-image.ts';

/** Most connections that are moved together. */
export const batchFlowsMax = 64;
/** What the application tells of a connection, and what it had not read yet. */
export const stateBytesMax = 1024 * 1024;
export const unreadBytesMax = 1024 * 1024;
const refusalBytesMax = 512;
/** Of four bytes at most. */
const refusalCharactersMax = 100;

/** Bytes behind a 32-bit length. */
function longBytes(lengthMax: number): Field<Uint8Array> {
  return {
    read(reader: Reader, name: string): Uint8Array {
      const length = reader.u32(name);
      return length > lengthMax
        ? reader.refuse(`${name}: ${length} bytes, at most ${lengthMax}`)
        : reader.bytes(length, name);
    },
    write(writer: Writer, value: Uint8Array): void {
      assert(value.length <= lengthMax, `at most ${lengthMax} bytes`);
      writer.u32(value.length).bytes(value);
    },
  };
}

/** Counted by the sender of `hold`: replies name it. */
const batch = u32;
/** Place of a flow in the list of `hold`. */
const index = u16;
/** Empty for none. */
const refusal = text(refusalBytesMax);

const messages = {
  /** The holder wants to move these connections: their packets are to be kept back from now on. */
  hold: record({ batch, flows: list(batchFlowsMax, tcpFlow) }),
  held: record({ batch, refusal }),
  /** Some of them, frozen and cut off at their holder: as many as are small enough to go together. */
  images: record({
    batch,
    images: list(
      batchFlowsMax,
      record({
        index,
        socket: longBytes(imageBytesMax),
        state: longBytes(stateBytesMax),
        unread: longBytes(unreadBytesMax),
      }),
    ),
  }),
  /** Of the flows of one `images`: they stand ready here, frozen still, or why not. */
  ready: record({ batch, answers: list(batchFlowsMax, record({ index, refusal })) }),
  /** The holder has none of `go` any more: they are the receiver's. All others stay where they are. */
  decided: record({ batch, go: list(batchFlowsMax, index) }),
  /** Of a batch that stands ready and of which nothing was heard: what was decided? */
  undecided: record({ batch }),
} as const;

type Messages = typeof messages;
type Kind = keyof Messages;

/** What two agents tell each other to move connections from one, their holder, to the other. */
export type TransferMessage = { [K in Kind]: { readonly kind: K } & ValueOf<Messages[K]> }[Kind];

const kinds = Object.keys(messages) as Kind[];
const kindField = oneOf(kinds);

/** A kind, one byte, then its fields in the order above. */
export function encodeTransfer(message: TransferMessage): Uint8Array {
  const writer = new Writer();
  kindField.write(writer, message.kind);
  (messages[message.kind] as Field<unknown>).write(writer, message);
  return writer.finish();
}

export function decodeTransfer(bytes: Uint8Array): Result<TransferMessage> {
  return decode(bytes, (reader) => {
    const kind = kindField.read(reader, 'kind');
    return { kind, ...(messages[kind] as Field<object>).read(reader, kind) } as TransferMessage;
  });
}

/** As the field of a message takes it; never empty, which would be none. */
export function refusalOf(reason: string): string {
  return oneLine(reason, refusalCharactersMax) || 'no reason given';
}
