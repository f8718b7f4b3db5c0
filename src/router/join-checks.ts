import { formatIp, type IpAddress, sameIp } from '../base/address.ts';
import { ok } from '../base/result.ts';
import { isSignedBy, joiningMember, type MemberCertificate } from '../identity/join.ts';
import { decodeIgmp, type IgmpQuery, type IgmpReport, type MembershipRecord, type OldReport } from '../wire/igmp.ts';
import type { Authentication, JoinFilters } from '../wire/igmp-extension.ts';
import { decodeIgmpPacket } from '../wire/igmp-packet.ts';
import { KnownCertificates } from './known-certificates.ts';
import type { Admission, Instant, JoinPorts } from './ports.ts';
import { RecentMap } from './recent-map.ts';
import { SeenKeys } from './seen-keys.ts';
import { type Rate, TokenBucket } from './token-bucket.ts';

/** Why a join does not count, in the order in which it is asked (figure 6). */
export const refusalReasons = [
  'malformed',
  'unsigned',
  'duplicate',
  'not-timely',
  'wrong-link',
  'no-key',
  'rate-limit',
  'certificate',
  'signature',
  'stale-epoch',
] as const;
export type RefusalReason = (typeof refusalReasons)[number];

export interface Refusal {
  readonly reason: RefusalReason;
  /** One line for the log. */
  readonly detail: string;
}

/** A join or leave that counts. */
export interface AcceptedJoin {
  readonly group: IpAddress;
  readonly link: string;
  readonly address: IpAddress;
  /** The replica, of a private group: proven by its certificate. Null of a public one: then only the address tells members apart. */
  readonly replica: string | null;
  /** Of that certificate, hexadecimal; null of a public group. */
  readonly serial: string | null;
  /** Of a public group: as it says, or 0. */
  readonly epoch: number;
  /** When it was signed, or came, of a public group. Milliseconds since 1970. */
  readonly timeMs: number;
  /** The sender takes nothing any more. */
  readonly isLeave: boolean;
  readonly filters: JoinFilters;
}

/** What came of a packet. A report of a host's own kernel may speak of several groups. */
export type Judgement =
  | { readonly kind: 'query'; readonly source: IpAddress; readonly query: IgmpQuery }
  | { readonly kind: 'report'; readonly joins: readonly AcceptedJoin[]; readonly refusals: readonly Refusal[] };

export interface JoinChecksConfig {
  /** A join counts when its time is this close to the router's, before or after. */
  readonly windowMs: number;
  /** For each link: joins whose certificate the router has not seen yet. Reading one costs some hundred µs. */
  readonly unknown: Rate;
  /** For each link and certificate: joins that carry one that is known. Checking a signature costs some ten µs: more than a link of 100 Mbit/s carries can be checked. */
  readonly known: Rate;
  /** Certificates of members that are remembered; the newest epochs of as many. */
  readonly certificatesMax: number;
  /** Random keys that are remembered, each for twice the window; more joins than that are refused. */
  readonly keysMax: number;
}

export const joinChecksDefaults: JoinChecksConfig = {
  windowMs: 30_000,
  unknown: { perSecond: 500, burst: 100 },
  known: { perSecond: 12_000, burst: 1000 },
  certificatesMax: 1024,
  keysMax: 131_072,
};

const authoritiesMax = 64;
const noFilters: JoinFilters = { permit: [], prohibit: [] };

/** Decides which IGMP packets of a link count, and counts the others by reason. */
export class JoinChecks {
  readonly #ports: JoinPorts;
  readonly #config: JoinChecksConfig;
  readonly #certificates: KnownCertificates;
  readonly #keys: SeenKeys;
  /** By group and replica. */
  readonly #epochs: RecentMap<string, number>;
  /** By link. */
  readonly #unknown = new Map<string, TokenBucket>();
  readonly #counts = new Map<RefusalReason, number>();

  constructor(ports: JoinPorts, config: JoinChecksConfig = joinChecksDefaults) {
    const { certificatesMax: membersMax, known: rate } = config;
    this.#ports = ports;
    this.#config = config;
    this.#certificates = new KnownCertificates(ports.readAuthority, { authoritiesMax, membersMax, rate });
    this.#keys = new SeenKeys({ keysMax: config.keysMax, keepMs: 2 * config.windowMs });
    this.#epochs = new RecentMap(membersMax);
  }

  /** How often each reason was given. */
  get refused(): ReadonlyMap<RefusalReason, number> {
    return this.#counts;
  }

  /** `packet` is an IPv4 packet with its header, as it came on `link`. */
  receive(packet: Uint8Array, link: string, now: Instant): Judgement {
    const outer = decodeIgmpPacket(packet);
    if (!outer.ok) return this.#refused('malformed', outer.reason);
    const { source, message } = outer.value;
    const inner = decodeIgmp(message);
    if (!inner.ok) return this.#refused('malformed', `${inner.reason}, from ${formatIp(source)}`);
    if (inner.value.kind === 'query') {
      // Switches that snoop ask from 0.0.0.0 (RFC 4541, section 2.1.1).
      if (source.value === 0n || this.#ports.isOnLink(link, source))
        return { kind: 'query', source, query: inner.value };
      return this.#refused('wrong-link', `a query of ${formatIp(source)}`);
    }
    const came = { source, message, link, now };
    const joins: AcceptedJoin[] = [];
    const refusals: Refusal[] = [];
    for (const said of saidBy(inner.value)) {
      if (!this.#ports.isServed(said.group)) continue;
      const verdict = this.#judge(said, came);
      if (verdict.ok) joins.push(verdict.join);
      else refusals.push(this.#counted(verdict.refusal));
    }
    return { kind: 'report', joins, refusals };
  }

  #judge(said: Said, came: Came): Verdict {
    const admission = this.#ports.admission(said.group);
    const { isLeave, filters, authentication } = said;
    if (isLeave === null) return refuse('malformed', `${describe(said.group, came)}: it names sources`);
    if (admission?.isPublic) {
      if (!this.#ports.isOnLink(came.link, came.source)) return refuse('wrong-link', describe(said.group, came));
      const { epoch = 0 } = authentication ?? {};
      // Nobody has signed its own time.
      const timeMs = came.now.wallMs;
      return accept({ ...of(said.group, came.link, came.source, null), epoch, timeMs, isLeave, filters, serial: null });
    }
    if (!authentication || authentication.signature.length === 0) return refuse('unsigned', describe(said.group, came));
    const objection = this.#objection(authentication, said.group, came);
    if (objection) return objection;
    const member = this.#member(admission, authentication, came);
    if (!member.ok) return refuse(member.reason, `${describe(said.group, came)}: ${member.detail}`);
    const { replica, certificate } = member;
    if (!isSignedBy(certificate, came.message, authentication.signature)) {
      return refuse('signature', `${describe(said.group, came)}: "${replica}" has not signed it`);
    }
    const { requester, epoch, timeMs, randomKey } = authentication;
    const key = `${said.group.value} ${replica}`;
    const newest = this.#epochs.get(key) ?? 0;
    if (epoch < newest) {
      return refuse('stale-epoch', `${describe(said.group, came)}: epoch ${epoch}, "${replica}" was at ${newest}`);
    }
    this.#epochs.set(key, epoch);
    this.#keys.add(randomKey, came.now.monotonicMs);
    const leaves = isLeave || filters.permit.length === 0;
    const { serial } = certificate;
    return accept({
      ...of(said.group, came.link, requester, replica),
      serial,
      epoch,
      timeMs,
      isLeave: leaves,
      filters,
    });
  }

  /** What can be said against a join without asking whose it is. */
  #objection({ randomKey, timeMs, requester }: Authentication, group: IpAddress, came: Came): Verdict | null {
    const { windowMs } = this.#config;
    if (this.#keys.has(randomKey)) return refuse('duplicate', describe(group, came));
    const lateMs = came.now.wallMs - timeMs;
    if (Math.abs(lateMs) > windowMs) {
      return refuse('not-timely', `${describe(group, came)}: ${Math.abs(lateMs)} ms too ${lateMs > 0 ? 'old' : 'new'}`);
    }
    if (!sameIp(requester, came.source) || !this.#ports.isOnLink(came.link, requester)) {
      return refuse('wrong-link', `${describe(group, came)}: it is for ${formatIp(requester)}`);
    }
    return null;
  }

  /** The member that the certificate names. What costs much is bounded before it is done. */
  #member(admission: Admission | null, { certificate: encoded }: Authentication, { link, now }: Came): MemberOrRefusal {
    const no = (reason: RefusalReason, detail: string): MemberOrRefusal => ({ ok: false, reason, detail });
    if (!admission) return no('no-key', 'the registry has not proven whose group it is');
    const authority = this.#certificates.authority(admission, now.wallMs);
    if (!authority.ok) return no('no-key', authority.reason);
    if (!this.#keys.hasRoom(now.monotonicMs)) return no('rate-limit', 'more joins than are remembered');
    const fingerprint = this.#ports.fingerprint(encoded);
    const known = this.#certificates.find(fingerprint, admission.authority);
    const isWithinRate = known
      ? this.#certificates.takes(known, link, now.monotonicMs)
      : this.#takesUnknown(link, now.monotonicMs);
    if (!isWithinRate)
      return no('rate-limit', known ? 'too many with its certificate' : 'too many unknown certificates');
    const read = known ? ok(known.certificate) : authority.value.readMember(encoded);
    if (!read.ok) return no('certificate', read.reason);
    const { revokedSerials } = admission;
    const member = joiningMember(read.value, { cluster: admission.name, nowMs: now.wallMs, revokedSerials });
    if (!member.ok) return no('certificate', member.reason);
    if (!known) this.#certificates.remember(fingerprint, admission.authority, read.value);
    return { ok: true, replica: member.value.replica, certificate: read.value };
  }

  #takesUnknown(link: string, nowMs: number): boolean {
    let budget = this.#unknown.get(link);
    if (!budget) {
      budget = new TokenBucket(this.#config.unknown, nowMs);
      this.#unknown.set(link, budget);
    }
    return budget.take(nowMs);
  }

  #refused(reason: RefusalReason, detail: string): Judgement {
    return { kind: 'report', joins: [], refusals: [this.#counted({ reason, detail })] };
  }

  #counted(refusal: Refusal): Refusal {
    this.#counts.set(refusal.reason, (this.#counts.get(refusal.reason) ?? 0) + 1);
    return refusal;
  }
}

/** Where and when a report came. */
interface Came {
  readonly source: IpAddress;
  readonly message: Uint8Array;
  readonly link: string;
  readonly now: Instant;
}

/** What a report says of one group. */
interface Said {
  readonly group: IpAddress;
  /** Null when it is about single sources, which a group of ours does not know. */
  readonly isLeave: boolean | null;
  readonly filters: JoinFilters;
  readonly authentication: Authentication | null;
}

type Verdict = { readonly ok: true; readonly join: AcceptedJoin } | { readonly ok: false; readonly refusal: Refusal };

type MemberOrRefusal =
  | { readonly ok: true; readonly replica: string; readonly certificate: MemberCertificate }
  | ({ readonly ok: false } & Refusal);

function saidBy(report: IgmpReport | OldReport): Said[] {
  if (report.kind === 'old-report') {
    const isLeave = report.type === 'v2-leave';
    return [{ group: report.group, isLeave, filters: noFilters, authentication: null }];
  }
  const { filters, authentication } = report.extension ?? { filters: null, authentication: null };
  return report.records.map((record) => ({
    ...{ group: record.group, isLeave: isLeaveOf(record), filters: filters ?? noFilters, authentication },
  }));
}

/** RFC 3376, section 5.1: excluding nothing is to listen, including nothing is to listen no more. */
function isLeaveOf({ type, sources }: MembershipRecord): boolean | null {
  if (sources.length > 0) return null;
  if (type === 'is-exclude' || type === 'to-exclude') return false;
  return type === 'is-include' || type === 'to-include' ? true : null;
}

function of(group: IpAddress, link: string, address: IpAddress, replica: string | null) {
  return { group, link, address, replica };
}

function accept(join: AcceptedJoin): Verdict {
  return { ok: true, join };
}

function refuse(reason: RefusalReason, detail: string): Verdict {
  return { ok: false, refusal: { reason, detail } };
}

function describe(group: IpAddress, { source, link }: Came): string {
  return `join of ${formatIp(source)} on ${link} to ${formatIp(group)}`;
}
