import { formatIp, type IpAddress } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import { revokedMax } from '../identity/revocation-list.ts';
import type { GroupRecord } from '../registry/group-record.ts';
import { answersFor, provenGroup } from '../registry/proof.ts';
import { reverseName } from '../registry/zone.ts';
import { type DnsMessage, type DnsRecord, responseCode } from '../wire/dns.ts';
import { readStartData, recordType } from '../wire/dns-data.ts';
import { isAuthority } from './certificates.ts';
import { askServer, type NameServer } from './dns-client.ts';
import { certificatesIn } from './revocations.ts';

/** What is known about a group. Who is not proven public is private, and of whom no key is proven, closed. */
export type GroupStanding =
  | { readonly kind: 'public'; readonly group: GroupRecord; readonly problem: string | null }
  /** Members of the group's authority alone may join. `problem`: why this is the last proven answer and not a new one. */
  | { readonly kind: 'private'; readonly group: GroupRecord; readonly problem: string | null }
  /** Nobody may join. */
  | { readonly kind: 'closed'; readonly problem: string };

export interface GroupServer extends NameServer {
  /** It verifies DNSSEC, and the way to it is safe (it is on this machine): that it says so counts. */
  readonly isValidating?: boolean | undefined;
}

export interface GroupLookupOptions {
  /** Asked one after the other until one answers. */
  readonly servers: readonly GroupServer[];
  /** SHA-256 of the authorities of a group by its address, as `manycast keys show` prints them or without colons. */
  readonly pins: ReadonlyMap<string, readonly string[]>;
  readonly limits?: Partial<GroupLookupLimits>;
  /** Milliseconds that only grow; by default those of the process. */
  readonly now?: () => number;
}

export interface GroupLookupLimits {
  /** For one server and question, by UDP and by TCP each. */
  readonly timeoutMs: number;
  /** How long no server is asked again after none had a proven answer (RFC 9520). */
  readonly failureMs: number;
  /** How long the last proven answer counts after its own time while there is no new one (RFC 8767). */
  readonly staleMs: number;
  /** Whatever an answer says of itself. */
  readonly keptMsMin: number;
  readonly keptMsMax: number;
  readonly groupsMax: number;
  readonly lookupsMax: number;
}

export const groupLookupLimits: GroupLookupLimits = {
  timeoutMs: 1_500,
  failureMs: 5_000,
  staleMs: 86_400_000,
  keptMsMin: 1_000,
  keptMsMax: 86_400_000,
  groupsMax: 1024,
  lookupsMax: 32,
};

export interface GroupLookup {
  /** By the reverse name of the group's address. Never rejects. */
  lookup(address: IpAddress): Promise<GroupStanding>;
}

interface Kept {
  readonly standing: GroupStanding;
  readonly untilMs: number;
  /** The last answer that was proven, and how long it counts when there is no other. */
  readonly proven: { readonly group: GroupRecord; readonly untilMs: number } | null;
}

export function groupLookup(options: GroupLookupOptions): GroupLookup {
  const limits = { ...groupLookupLimits, ...options.limits };
  const now = options.now ?? (() => performance.now());
  const pins = new Map([...options.pins].map(([address, each]) => [address, each.map(plainFingerprint)]));
  const kept = new Map<string, Kept>();
  const running = new Map<string, Promise<GroupStanding>>();

  async function fresh(address: IpAddress, key: string): Promise<GroupStanding> {
    const before = kept.get(key)?.proven ?? null;
    const found = await findGroup(address, { servers: options.servers, limits, pins: pins.get(key) ?? [] });
    const next = keptOf(found, before, { limits, nowMs: now() });
    kept.delete(key);
    if (kept.size >= limits.groupsMax) kept.delete(leastWorth(kept));
    kept.set(key, next);
    return next.standing;
  }

  return {
    async lookup(address) {
      const key = formatIp(address);
      const known = kept.get(key);
      if (known && now() < known.untilMs) return known.standing;
      const under = running.get(key);
      if (under) return under;
      if (running.size >= limits.lookupsMax) {
        const refused = { kind: 'failure', problem: 'too many look-ups at a time' } as const;
        return keptOf(refused, known?.proven ?? null, { limits, nowMs: now() }).standing;
      }
      const started = fresh(address, key).finally(() => running.delete(key));
      running.set(key, started);
      return started;
    },
  };
}

type Found =
  | { readonly kind: 'group'; readonly group: GroupRecord; readonly ttl: number }
  /** There is no such group. */
  | { readonly kind: 'none'; readonly ttl: number | null; readonly problem: string }
  | { readonly kind: 'failure'; readonly problem: string };

function keptOf(
  found: Found,
  before: Kept['proven'],
  { limits, nowMs }: { readonly limits: GroupLookupLimits; readonly nowMs: number },
): Kept {
  const { keptMsMin, keptMsMax, failureMs, staleMs } = limits;
  const until = (ttl: number): number => nowMs + Math.min(Math.max(ttl * 1000, keptMsMin), keptMsMax);
  if (found.kind === 'group') {
    const untilMs = until(found.ttl);
    const group = withoutTakingBack(found.group, before?.group);
    return { standing: standingOf(group, null), untilMs, proven: { group, untilMs: untilMs + staleMs } };
  }
  const { problem } = found;
  if (found.kind === 'none') {
    const untilMs = found.ttl === null ? nowMs + failureMs : until(found.ttl);
    return { standing: { kind: 'closed', problem }, untilMs, proven: null };
  }
  const untilMs = nowMs + failureMs;
  if (!before || nowMs >= before.untilMs) return { standing: { kind: 'closed', problem }, untilMs, proven: null };
  return { standing: standingOf(before.group, problem), untilMs, proven: before };
}

/**
 * A revocation is for good. Where the authority is pinned and DNS is not signed, an answer could be forged that leaves one out: what was heard once
 * stays, while the authority does.
 */
function withoutTakingBack(group: GroupRecord, before: GroupRecord | undefined): GroupRecord {
  if (before?.authorityCertificate !== group.authorityCertificate) return group;
  const revokedSerials = new Set([...group.revokedSerials, ...before.revokedSerials]);
  return revokedSerials.size > revokedMax ? group : { ...group, revokedSerials };
}

function standingOf(group: GroupRecord, problem: string | null): GroupStanding {
  return { kind: group.isPublic ? 'public' : 'private', group, problem };
}

interface Search {
  readonly servers: readonly GroupServer[];
  readonly limits: GroupLookupLimits;
  /** Of this group. */
  readonly pins: readonly string[];
}

async function findGroup(address: IpAddress, { servers, limits, pins }: Search): Promise<Found> {
  const name = reverseName(address);
  const types = [recordType.TXT, recordType.CERT, recordType.A];
  const problems: string[] = [];
  for (const server of servers) {
    const where = `${server.address} port ${server.port}`;
    try {
      const answers = await Promise.all(types.map((type) => askServer(server, { name, type }, limits.timeoutMs)));
      const failed = answers.find((each) => !isAnswer(each));
      if (failed) throw new Error(`${where}: response code ${failed.responseCode}`);
      const records = answers.flatMap((each, i) => answersFor(each.answers, { name, type: types[i] ?? 0 }));
      if (!records.some(({ type }) => type === recordType.TXT)) {
        const [text] = answers;
        return { kind: 'none', ttl: text ? negativeTtl(text) : null, problem: `${where}: there is no such group` };
      }
      const isAuthenticated = server.isValidating === true && answers.every(({ flags }) => flags.authenticData);
      const group = provenGroup({ address, records, isAuthenticated, pins });
      const complaint = group.ok ? complaintAbout(group.value) : group.reason;
      if (group.ok && complaint === null) return { kind: 'group', group: group.value, ttl: leastTtl(records) };
      problems.push(`${where}: ${complaint}`);
    } catch (error) {
      problems.push(messageOf(error));
    }
  }
  return { kind: 'failure', problem: problems.join('; ') || 'no name server is configured' };
}

/** Null when every certificate is one of an authority, which those who check members by it need not doubt. */
function complaintAbout({ authorityCertificate }: GroupRecord): string | null {
  return certificatesIn(authorityCertificate).every(isAuthority) ? null : 'its CERT record is not that of an authority';
}

function isAnswer({ responseCode: code }: DnsMessage): boolean {
  return code === responseCode.noError || code === responseCode.nameError;
}

function leastTtl(records: readonly DnsRecord[]): number {
  return Math.min(...records.map(({ ttl }) => ttl));
}

/** RFC 2308, section 5; null without a SOA, which must not be remembered. */
function negativeTtl({ authorities }: DnsMessage): number | null {
  const start = authorities.find(({ type }) => type === recordType.SOA);
  const data = start ? readStartData(start.data) : null;
  return start && data?.ok ? Math.min(start.ttl, data.value.minimum) : null;
}

/** Names that were made up cost no group that was proven its last answer. */
function leastWorth(kept: ReadonlyMap<string, Kept>): string {
  let oldest = '';
  for (const [key, { proven }] of kept) {
    if (!proven) return key;
    oldest ||= key;
  }
  return oldest;
}

function plainFingerprint(text: string): string {
  return text.replaceAll(':', '').toLowerCase();
}
