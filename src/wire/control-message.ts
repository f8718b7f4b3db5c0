import { decode, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { bodyBytesMax } from './envelope.ts';
import {
  bytes,
  checked,
  flag,
  known,
  list,
  mac,
  nodeName,
  nodeNameOrNone,
  oneOf,
  record,
  tcpFlow,
  text,
  u16,
  u32,
  u48,
  type ValueOf,
} from './field.ts';
import { ledgerBounds, ledgerBytesMax, slots, version } from './ledger.ts';

/** Entries of a heartbeat's list of peers heard. */
export const heardMax = 256;

const heartbeat = record({
  kind: known('heartbeat'),
  /** Number of the heartbeat: grows within the sender's session, and is none of another. */
  round: u48,
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
  /** From a coordinator: no ledger newer than this can have been committed; who acts on an older one gets no lease. */
  basis: version,
  /** Epoch whose rows the sender's kernel has; 0 before the first of this life. */
  programmed: u48,
  /** Epoch up to which the routers do as the ledger says with slots that the sender gives away; `programmed` where there are no routers. */
  routed: u48,
  /** Number of the sender's memory as a voter: another one has forgotten what this one promised. */
  incarnation: u48,
  /** The sender votes and serves nothing. */
  witness: flag,
  /** Number of the machine's life: another one holds no flow of an earlier. */
  boot: u48,
  /** Link address of the device that carries the service. */
  mac,
  /** The sender's server answers. */
  healthy: flag,
  /** Peers heard a moment ago: the newest round of each, and whether it came by multicast of late. */
  heard: list(heardMax, record({ name: nodeName, round: u48, multicast: flag })),
});

/** A piece of a value that is longer than a datagram. */
export const partBytesMax = 1024;

const part = record({
  kind: known('part'),
  content: oneOf(['ledger', 'proposal', 'drained', 'claim', 'kept', 'known', 'tags']),
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
  kind: oneOf(['policy', 'drain', 'undrain', 'move', 'voters']),
  /** `policy`: canonical text. */
  policy: text(ledgerBounds.policyBytes),
  /** `drain`, `undrain`: who. `move`: the new owner. `voters`: who is to vote. */
  name: nodeNameOrNone,
  /** `voters`: who is to vote no more. */
  instead: nodeNameOrNone,
  /** `move`: which. */
  slots,
});

const drained = record({
  /** The epoch whose ledger the sender knew when it looked. */
  seen: u48,
  /** Slots that it has given away and of which it holds no flow. */
  slots,
});

/** Flows that one question or answer names at most: they fit a datagram. */
export const askedFlowsMax = 32;

/** The sender's kernel has had packets of these flows and knows none of them, nor does the ledger say who may: who does? */
const question = record({ kind: known('question'), flows: list(askedFlowsMax, tcpFlow) });

/** The sender has these, of the flows that it was asked about. */
const answer = record({ kind: known('answer'), flows: list(askedFlowsMax, tcpFlow) });

/** From a router: of each member, the newest epoch of its joins that the router's kernel goes by. */
const routed = record({ kind: known('routed'), members: list(heardMax, record({ name: nodeName, epoch: u48 })) });

/** From a router: its kernel goes by what the member that this goes to has said of its flows in this session under this number. */
const tagged = record({ kind: known('tagged'), session: u48, number: u48 });

const claim = record({
  /** The life of the sender's machine. */
  boot: u48,
  /** Slots of which it may hold flows, and of which the ledger it knows names it neither owner nor holder. */
  slots,
});

export type Heartbeat = Omit<ValueOf<typeof heartbeat>, 'kind'>;
export type Part = Omit<ValueOf<typeof part>, 'kind'>;
export type Proposal = ValueOf<typeof proposal>;
export type Drained = ValueOf<typeof drained>;
export type Claim = ValueOf<typeof claim>;
export type Routed = Omit<ValueOf<typeof routed>, 'kind'>;
export type Tagged = Omit<ValueOf<typeof tagged>, 'kind'>;
export type Question = Omit<ValueOf<typeof question>, 'kind'>;
export type ControlMessage =
  | ValueOf<typeof heartbeat>
  | ValueOf<typeof part>
  | ValueOf<typeof question>
  | ValueOf<typeof answer>
  | ValueOf<typeof routed>
  | ValueOf<typeof tagged>;

const messages = { heartbeat, part, question, answer, routed, tagged };
const kinds = oneOf(['heartbeat', 'part', 'question', 'answer', 'routed', 'tagged']);

export function encodeMessage(message: ControlMessage): Uint8Array {
  const writer = new Writer();
  kinds.write(writer, message.kind);
  switch (message.kind) {
    case 'heartbeat':
      heartbeat.write(writer, message);
      break;
    case 'part':
      part.write(writer, message);
      break;
    case 'question':
      question.write(writer, message);
      break;
    case 'answer':
      answer.write(writer, message);
      break;
    case 'routed':
      routed.write(writer, message);
      break;
    case 'tagged':
      tagged.write(writer, message);
  }
  return writer.finish();
}

/** The message of a body, or why it is none. */
export function decodeMessage(body: Uint8Array): Result<ControlMessage> {
  return decode(body, (reader) => {
    const kind = kinds.read(reader, 'kind');
    return messages[kind].read(reader, kind);
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

export function encodeDrained(value: Drained): Uint8Array {
  const writer = new Writer();
  drained.write(writer, value);
  return writer.finish();
}

export function decodeDrained(encoded: Uint8Array): Result<Drained> {
  return decode(encoded, (reader) => drained.read(reader, 'drained'));
}

export function encodeClaim(value: Claim): Uint8Array {
  const writer = new Writer();
  claim.write(writer, value);
  return writer.finish();
}

export function decodeClaim(encoded: Uint8Array): Result<Claim> {
  return decode(encoded, (reader) => claim.read(reader, 'claim'));
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
    basis: none,
    programmed: 0,
    routed: 0,
    incarnation: 0,
    witness: false,
    boot: 0,
    mac: '00:00:00:00:00:00',
    healthy: false,
    heard: peers.map((name) => ({ name, round: 0, multicast: false })),
  });
  return longest.length <= bodyBytesMax;
}
