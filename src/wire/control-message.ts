import { decode, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { bodyBytesMax } from './envelope.ts';
import {
  bytes,
  checked,
  flag,
  list,
  nodeName,
  nodeNameOrNone,
  oneOf,
  record,
  text,
  u16,
  u32,
  u48,
  type ValueOf,
} from './field.ts';
import { ledgerBounds, ledgerBytesMax, version } from './ledger.ts';

/** Entries of a heartbeat's list of peers heard. */
export const heardMax = 256;

const heartbeat = record({
  /** Number of the heartbeat within the sender's session. */
  round: u32,
  /** Newest term the sender has taken part in. */
  term: u48,
  /** Whom the sender supports as coordinator in `term`. */
  follow: nodeNameOrNone,
  /** The sender is coordinator, and a majority of the voters supported it a moment ago. */
  coordinating: flag,
  /** The sender wants its share taken over. */
  leaving: flag,
  /** The ledger the sender has stored. */
  held: version,
  /** From a coordinator: the newest ledger of its term that a majority of the voters has stored. */
  committed: version,
  /** Epoch whose share the sender's kernel accepts, exactly; 0 while it accepts nothing. */
  programmed: u48,
  /** Peers heard a moment ago: the newest round of each, and whether it came by multicast of late. */
  heard: list(heardMax, record({ name: nodeName, round: u32, multicast: flag })),
});

/** A piece of a value that is longer than a datagram. */
export const partBytesMax = 1024;

const part = record({
  content: oneOf(['ledger', 'proposal']),
  /** Tells the parts of one value from those of the sender's next. */
  transfer: u32,
  /** Bytes of the whole value. */
  length: checked(u32, (length) => (length >= 1 && length <= ledgerBytesMax ? null : `${length} bytes`)),
  /** The part stands at `index * 1024`. */
  index: u16,
  bytes: bytes(partBytesMax),
});

const proposal = record({
  /** Epoch the proposer knew: an older proposal than the policy in force changes nothing. */
  seen: u48,
  /** Canonical text. */
  policy: text(ledgerBounds.policyBytes),
});

export type Heartbeat = ValueOf<typeof heartbeat>;
export type Part = ValueOf<typeof part>;
export type Proposal = ValueOf<typeof proposal>;
export type ControlMessage = ({ readonly kind: 'heartbeat' } & Heartbeat) | ({ readonly kind: 'part' } & Part);

const kinds = oneOf(['heartbeat', 'part']);

export function encodeMessage(message: ControlMessage): Uint8Array {
  const writer = new Writer();
  kinds.write(writer, message.kind);
  if (message.kind === 'heartbeat') heartbeat.write(writer, message);
  else part.write(writer, message);
  return writer.finish();
}

/** The message of a body, or why it is none. */
export function decodeMessage(body: Uint8Array): Result<ControlMessage> {
  return decode(body, (reader) => {
    const kind = kinds.read(reader, 'kind');
    return kind === 'heartbeat' ? { kind, ...heartbeat.read(reader, kind) } : { kind, ...part.read(reader, kind) };
  });
}

export function encodeProposal(value: Proposal): Uint8Array {
  const writer = new Writer();
  proposal.write(writer, value);
  return writer.finish();
}

export function decodeProposal(encoded: Uint8Array): Result<Proposal> {
  return decode(encoded, (reader) => proposal.read(reader, 'proposal'));
}

/** Whether a heartbeat that lists all of `peers` fits one datagram. */
export function heartbeatFits(peers: readonly string[]): boolean {
  if (peers.length > heardMax) return false;
  const none = { term: 0, epoch: 0 };
  const longest = encodeMessage({
    kind: 'heartbeat',
    round: 0,
    term: 0,
    follow: 'x'.repeat(32),
    coordinating: false,
    leaving: false,
    held: none,
    committed: none,
    programmed: 0,
    heard: peers.map((name) => ({ name, round: 0, multicast: false })),
  });
  return longest.length <= bodyBytesMax;
}
