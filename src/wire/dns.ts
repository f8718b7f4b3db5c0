import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { recordType } from './dns-data.ts';
import { labelsOf, nameAt, nameBytes } from './dns-name.ts';

/** Messages of DNS: RFC 1035, section 4, with EDNS of RFC 6891. */
export interface DnsMessage {
  readonly id: number;
  readonly isResponse: boolean;
  readonly opcode: number;
  readonly flags: DnsFlags;
  /** 12 bits with EDNS, else 4. */
  readonly responseCode: number;
  readonly questions: readonly DnsQuestion[];
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  /** Without the OPT record, which is `edns`. */
  readonly additionals: readonly DnsRecord[];
  readonly edns: Edns | null;
}

export interface DnsFlags {
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  /** The resolver has verified the answer by DNSSEC (RFC 4035, section 3.2.3). */
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
}

export interface DnsQuestion {
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

export interface DnsRecord extends DnsQuestion {
  /** Seconds. */
  readonly ttl: number;
  /** RDATA; names in it are not compressed. */
  readonly data: Uint8Array;
}

export interface Edns {
  /** The largest UDP payload that the sender takes. */
  readonly payloadBytes: number;
  readonly version: number;
  /** DNSSEC records are wanted. */
  readonly dnssecOk: boolean;
}

export const noFlags: DnsFlags = {
  authoritative: false,
  truncated: false,
  recursionDesired: false,
  recursionAvailable: false,
  authenticData: false,
  checkingDisabled: false,
};

export const classInternet = 1;

export const responseCode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const;

export const dnsBytesMax = 65_535;
const headerBytes = 12;
/** Of all sections together: a message of 64 KiB could hold 5,957 of the shortest. */
const recordsMax = 256;

const flagBits: readonly (readonly [keyof DnsFlags, number])[] = [
  ['authoritative', 0x0400],
  ['truncated', 0x0200],
  ['recursionDesired', 0x0100],
  ['recursionAvailable', 0x0080],
  ['authenticData', 0x0020],
  ['checkingDisabled', 0x0010],
];

export function decodeDns(bytes: Uint8Array): Result<DnsMessage> {
  return decode(bytes, (reader) => readMessage(reader, bytes));
}

/**
 * At most `bytesMax`, which is no less than 512: what is longer goes without its records, marked as truncated (RFC 2181, section 9). Owner names
 * are compressed against that of the question.
 */
export function encodeDns(message: DnsMessage, bytesMax = dnsBytesMax): Uint8Array {
  const whole = written(message);
  if (whole.length <= Math.min(bytesMax, dnsBytesMax)) return whole;
  const flags = { ...message.flags, truncated: true };
  const cut = written({ ...message, flags, answers: [], authorities: [], additionals: [] });
  assert(cut.length <= bytesMax, 'a question fits 512 bytes');
  return cut;
}

/** What answers a message that cannot be read; null when nothing should, because it is too short or no question. */
export function formatError(bytes: Uint8Array): DnsMessage | null {
  const header = decode(bytes.subarray(0, headerBytes), (reader) => {
    const [id, flags] = [reader.u16('id'), reader.u16('flags')];
    reader.bytes(headerBytes - 4, 'counts');
    return { id, isResponse: (flags & 0x8000) !== 0, opcode: (flags >> 11) & 0xf };
  });
  if (!header.ok || header.value.isResponse) return null;
  const nothing = { questions: [], answers: [], authorities: [], additionals: [], edns: null };
  const { id, opcode } = header.value;
  return { id, opcode, isResponse: true, flags: noFlags, responseCode: responseCode.formatError, ...nothing };
}

function readMessage(reader: Reader, whole: Uint8Array): DnsMessage {
  const id = reader.u16('id');
  const bits = reader.u16('flags');
  const [questionCount = 0, ...counts] = ['questions', 'answers', 'authorities', 'additionals'].map((each) =>
    reader.u16(`count of ${each}`),
  );
  const count = counts.reduce((sum, each) => sum + each, questionCount);
  if (count > recordsMax) reader.refuse(`${count} records, at most ${recordsMax}`);
  const questions = times(questionCount, () => readQuestion(reader, whole));
  const [answers = [], authorities = [], all = []] = counts.map((each) => times(each, () => readRecord(reader, whole)));
  const options = all.filter(({ type }) => type === recordType.OPT);
  if (options.length > 1) reader.refuse('more than one OPT record');
  const [option] = options;
  if (option && option.name !== '') reader.refuse('an OPT record that is not of the root');
  return {
    ...{ id, isResponse: (bits & 0x8000) !== 0, opcode: (bits >> 11) & 0xf },
    flags: Object.fromEntries(flagBits.map(([flag, bit]) => [flag, (bits & bit) !== 0])) as unknown as DnsFlags,
    responseCode: (bits & 0xf) | (option ? (option.ttl >>> 24) << 4 : 0),
    ...{ questions, answers, authorities, additionals: all.filter((each) => each !== option) },
    edns: option ? ednsOf(option) : null,
  };
}

/** RFC 6891, section 6.1.3. Sizes below 512 count as 512. */
function ednsOf({ class: size, ttl }: DnsRecord): Edns {
  return { payloadBytes: Math.max(size, 512), version: (ttl >>> 16) & 0xff, dnssecOk: (ttl & 0x8000) !== 0 };
}

function readQuestion(reader: Reader, whole: Uint8Array): DnsQuestion {
  return { name: readName(reader, whole), type: reader.u16('type'), class: reader.u16('class') };
}

function readRecord(reader: Reader, whole: Uint8Array): DnsRecord {
  const record = { ...readQuestion(reader, whole), ttl: reader.u32('ttl') };
  const length = reader.u16('length of data');
  const left = reader.remaining - length;
  if (left < 0) reader.refuse(`data: ${length} bytes wanted, ${reader.remaining} left`);
  const data = readData(reader, whole, { type: record.type, length });
  if (reader.remaining !== left) reader.refuse('data: a name in it does not end where it should');
  return { ...record, data };
}

/** The types of RFC 1035 alone may have compressed names in their data (RFC 3597, section 4). */
function readData(
  reader: Reader,
  whole: Uint8Array,
  { type, length }: { readonly type: number; readonly length: number },
): Uint8Array {
  const names = type === recordType.SOA ? 2 : isNameType(type) ? 1 : 0;
  if (names === 0) return reader.bytes(length, 'data');
  const writer = new Writer();
  for (const name of times(names, () => readName(reader, whole))) writer.bytes(nameBytes(name));
  if (type === recordType.SOA) writer.bytes(reader.bytes(20, 'numbers of SOA'));
  return writer.finish();
}

function isNameType(type: number): boolean {
  return type === recordType.NS || type === recordType.CNAME || type === recordType.PTR;
}

function readName(reader: Reader, whole: Uint8Array): string {
  const start = whole.length - reader.remaining;
  const read = nameAt(whole, start);
  if ('complaint' in read) return reader.refuse(`name: ${read.complaint}`);
  reader.bytes(read.end - start, 'name');
  return read.name;
}

function written(message: DnsMessage): Uint8Array {
  const { id, isResponse, opcode, flags, edns, questions, answers, authorities, additionals } = message;
  assert(edns !== null || message.responseCode < 16, 'a response code of more than 4 bits has EDNS');
  const bits = flagBits.reduce((sum, [flag, bit]) => sum | (flags[flag] ? bit : 0), 0);
  const writer = new Writer().u16(id);
  writer.u16((isResponse ? 0x8000 : 0) | (opcode << 11) | bits | (message.responseCode & 0xf));
  const extra = edns ? [...additionals, optionOf(edns, message.responseCode)] : additionals;
  for (const each of [questions, answers, authorities, extra]) writer.u16(each.length);
  const asked = questions[0]?.name ?? '';
  for (const question of questions) {
    writer.bytes(nameBytes(question.name)).u16(question.type).u16(question.class);
  }
  for (const { name, type, class: ofClass, ttl, data } of [...answers, ...authorities, ...extra]) {
    writeName(writer, name, asked);
    writer.u16(type).u16(ofClass).u32(ttl).u16(data.length).bytes(data);
  }
  return writer.finish();
}

function optionOf({ payloadBytes, version, dnssecOk }: Edns, code: number): DnsRecord {
  const ttl = (code >> 4) * 2 ** 24 + (version << 16) + (dnssecOk ? 0x8000 : 0);
  return { name: '', type: recordType.OPT, class: payloadBytes, ttl, data: new Uint8Array(0) };
}

/** A pointer into the question, which stands first, where the name is its end. */
function writeName(writer: Writer, name: string, asked: string): void {
  const [labels, ofAsked] = [labelsOf(name), labelsOf(asked)];
  const before = ofAsked.length - labels.length;
  const isEnd = labels.length > 0 && before >= 0 && labels.every((label, i) => label === ofAsked[before + i]);
  if (!isEnd) return void writer.bytes(nameBytes(name));
  const skipped = nameBytes(ofAsked.slice(0, before).join('.')).length - 1;
  writer.u16(0xc000 | (headerBytes + skipped));
}

function times<T>(count: number, item: () => T): T[] {
  return Array.from({ length: count }, item);
}
