import {
  classInternet,
  type DnsMessage,
  type DnsQuestion,
  type DnsRecord,
  noFlags,
  responseCode,
} from '../wire/dns.ts';
import { recordType, textData } from '../wire/dns-data.ts';
import { foldName, isWithin, labelsOf } from '../wire/dns-name.ts';
import type { Registry, Zone } from './zone.ts';

/** What fits a packet on nearly every path (the DNS flag day of 2020): more goes over TCP. */
export const udpPayloadBytes = 1232;
/** Without EDNS (RFC 1035, section 4.2.1). */
export const plainPayloadBytes = 512;

/** Zones with their records by name, which answer questions. */
export interface AnswerBook {
  /** Null for what is answered by nothing: answers themselves. */
  answer(query: DnsMessage): DnsMessage | null;
}

/** How long an answer by UDP may be. */
export function udpBytesMax({ edns }: DnsMessage): number {
  return edns ? Math.min(edns.payloadBytes, udpPayloadBytes) : plainPayloadBytes;
}

export function answerBook(registry: Registry): AnswerBook {
  const pages = registry.map(pageOf).sort((a, b) => b.zone.origin.length - a.zone.origin.length);

  return {
    answer(query) {
      if (query.isResponse) return null;
      const [question] = query.questions;
      if (query.opcode !== 0) return reply(query, { responseCode: responseCode.notImplemented });
      if (!question || query.questions.length > 1) return reply(query, { responseCode: responseCode.formatError });
      if (query.edns && query.edns.version > 0) return reply(query, { responseCode: responseCode.badVersion });
      const name = foldName(question.name);
      const page = pages.find(({ zone }) => isWithin(name, zone.origin));
      // Nobody is answered for others (recursion), in another class, nor with a whole zone (RFC 5936).
      if (!page || question.class !== classInternet || isMeta(question.type)) {
        return reply(query, { responseCode: responseCode.refused });
      }
      return reply(query, { flags: { ...noFlags, authoritative: true }, ...found(page, question, name) });
    },
  };
}

interface Page {
  readonly zone: Zone;
  readonly start: DnsRecord | undefined;
  /** By folded name; those that only lie between others and the origin have no records (RFC 8020). */
  readonly names: ReadonlyMap<string, readonly DnsRecord[]>;
}

function pageOf(zone: Zone): Page {
  const names = new Map<string, DnsRecord[]>();
  for (const record of zone.records) {
    const name = foldName(record.name);
    for (let above = name; isWithin(above, zone.origin) && !names.has(above); above = parentOf(above))
      names.set(above, []);
    names.get(name)?.push(record);
  }
  return { zone, start: zone.records.find(({ type }) => type === recordType.SOA), names };
}

type Found = Pick<DnsMessage, 'responseCode' | 'answers' | 'authorities'>;

function found({ zone, start, names }: Page, { name, type }: DnsQuestion, folded: string): Found {
  const there = names.get(folded);
  const wanted = there?.filter((record) => record.type === type) ?? [];
  const answers = type === recordType.ANY && there ? [minimalAny(zone)] : wanted;
  if (answers.length > 0) {
    // The name as it was asked, so that the case of its letters proves who answers.
    const asAsked = answers.map((record) => ({ ...record, name }));
    return { responseCode: responseCode.noError, answers: asAsked, authorities: [] };
  }
  const nothing = start
    ? [{ ...start, ttl: Math.min(start.ttl, zone.negativeTtl), name: asIn(name, zone.origin) }]
    : [];
  const code = there ? responseCode.noError : responseCode.nameError;
  return { responseCode: code, answers: [], authorities: nothing };
}

/** Who asks for everything would have others sent everything: one small record instead (RFC 8482, section 4.2). */
function minimalAny({ origin, records }: Zone): DnsRecord {
  const ttl = records[0]?.ttl ?? 0;
  return { name: origin, type: recordType.HINFO, class: classInternet, ttl, data: textData(['RFC8482', '']) };
}

/** Types that are no data (RFC 6895, section 3.1), but for ANY. */
function isMeta(type: number): boolean {
  return type === 0 || type === recordType.OPT || (type >= recordType.TKEY && type <= recordType.MAILA);
}

function reply(query: DnsMessage, answer: Partial<DnsMessage> & Pick<DnsMessage, 'responseCode'>): DnsMessage {
  const { id, opcode, questions, edns } = query;
  const { recursionDesired } = query.flags;
  return {
    ...{ id, opcode, isResponse: true, answers: [], authorities: [], additionals: [] },
    questions: questions.length === 1 ? questions : [],
    edns: edns ? { payloadBytes: udpPayloadBytes, version: 0, dnssecOk: edns.dnssecOk } : null,
    ...answer,
    flags: { ...(answer.flags ?? noFlags), recursionDesired },
  };
}

function parentOf(name: string): string {
  return labelsOf(name).slice(1).join('.');
}

/** The origin of a zone in the case that it has in a name within it. */
function asIn(name: string, origin: string): string {
  return labelsOf(name)
    .slice(labelsOf(name).length - labelsOf(origin).length)
    .join('.');
}
