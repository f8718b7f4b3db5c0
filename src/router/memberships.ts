import { formatIp, type IpAddress, sameIp } from '../base/address.ts';
import { ok, type Result } from '../base/result.ts';
import { isRevoked } from '../identity/join.ts';
import type { Filter } from '../space/filter.ts';
import type { Partition } from '../space/partition.ts';
import type { IgmpQuery } from '../wire/igmp.ts';
import type { JoinFilters } from '../wire/igmp-extension.ts';
import { Claims, type Owner } from './claims.ts';
import type { AcceptedJoin } from './join-checks.ts';
import { type MembershipTimers, membershipIntervalMs, membershipTimers } from './membership-timers.ts';
import { Querier } from './querier.ts';
import { slotsOfFilters } from './slots-of-filters.ts';

export interface MembershipsConfig {
  /** Each with this router's own address there. */
  readonly links: readonly { readonly name: string; readonly address: IpAddress }[];
  readonly groups: readonly { readonly address: IpAddress; readonly partition: Partition }[];
  readonly timers?: MembershipTimers;
  /** Of one group: more are refused. */
  readonly membersMax?: number;
}

/** Who owns each slot of a group that somebody owns. */
export type Owners = ReadonlyMap<number, Owner>;

export type MembershipOutput =
  /** To all hosts of the link, 224.0.0.1. */
  | { readonly kind: 'query'; readonly link: string; readonly query: IgmpQuery }
  | { readonly kind: 'owners'; readonly group: IpAddress; readonly owners: Owners }
  | { readonly kind: 'event'; readonly event: MembershipEvent };

/** `member` is the replica's name, or the address of a member of a public group. */
export type MembershipEvent =
  | {
      readonly event: 'joined' | 'left' | 'expired' | 'revoked';
      readonly group: IpAddress;
      readonly member: string;
      readonly link: string;
    }
  /** Two members claim slots under one epoch: the one that claimed them first keeps them. */
  | {
      readonly event: 'conflict';
      readonly group: IpAddress;
      readonly holder: string;
      readonly claimant: string;
      readonly epoch: number;
      readonly slots: readonly number[];
    }
  /** A join that counts and says nothing of use, or has no room. */
  | { readonly event: 'unusable'; readonly group: IpAddress; readonly member: string; readonly reason: string }
  /** Who asks on the link now; null is this router. */
  | { readonly event: 'querier'; readonly link: string; readonly address: IpAddress | null };

interface Member {
  readonly name: string;
  readonly claims: Claims;
  /** Of the join that was heard last: mostly the next says the same. */
  said: { readonly filters: JoinFilters; readonly slots: readonly number[] };
  /** Of the certificate that its newest join came with. */
  serial: string | null;
  endsMs: number;
  /** Nobody has asked for it in time: this router has, whoever the querier is. */
  isAskedFor: boolean;
}

interface Group {
  readonly address: IpAddress;
  readonly partition: Partition;
  readonly members: Map<string, Member>;
  owners: Owners;
  /** Those of the owners at present, as text. */
  conflicts: ReadonlySet<string>;
}

const membersMaxDefault = 1024;
const nothing: JoinFilters = { permit: [], prohibit: [] };

/**
 * The soft state of a router (RFC 3376, section 6): who is a member of which group, until when, and so who owns each slot. It differs from the RFC where a
 * message that nobody has signed would change it: timers follow this router's own configuration, whatever a querier says, and are never lowered by the
 * query of another; and a member that no querier asks for in time is asked for by each router.
 */
export class Memberships {
  readonly #timers: MembershipTimers;
  readonly #membersMax: number;
  readonly #queriers: ReadonlyMap<string, Querier>;
  readonly #groups: ReadonlyMap<string, Group>;

  /** The first queries are due at once: see `wake`. */
  constructor(config: MembershipsConfig, nowMs: number) {
    const { timers = membershipTimers, membersMax = membersMaxDefault } = config;
    this.#timers = timers;
    this.#membersMax = membersMax;
    this.#queriers = new Map(config.links.map(({ name, address }) => [name, new Querier(address, timers, nowMs)]));
    this.#groups = new Map(
      config.groups.map((group) => [
        formatIp(group.address),
        { ...group, members: new Map(), owners: new Map(), conflicts: new Set() },
      ]),
    );
  }

  owners(group: IpAddress): Owners {
    return this.#groups.get(formatIp(group))?.owners ?? new Map();
  }

  /** Those who have not left, by name. */
  members(
    group: IpAddress,
  ): ReadonlyMap<string, Owner & { readonly epoch: number; readonly slots: readonly number[] }> {
    const members = [...(this.#groups.get(formatIp(group))?.members ?? [])].filter(([, { claims }]) => !claims.isLeave);
    return new Map(
      members.map(
        ([
          name,
          {
            claims: { address, link, epoch, slots },
          },
        ]) => [name, { address, link, epoch, slots }],
      ),
    );
  }

  /** Where each member is by its newest join, by name; also one that has left, as they say who own nothing. */
  places(group: IpAddress): ReadonlyMap<string, Owner> {
    const members = [...(this.#groups.get(formatIp(group))?.members ?? [])];
    return new Map(
      members.map(
        ([
          name,
          {
            claims: { address, link },
          },
        ]) => [name, { address, link }],
      ),
    );
  }

  /** Of every member the epoch of its newest join, also of one that has left. */
  epochs(group: IpAddress): readonly { readonly name: string; readonly epoch: number }[] {
    const members = [...(this.#groups.get(formatIp(group))?.members ?? [])];
    return members.map(([name, { claims }]) => ({ name, epoch: claims.epoch }));
  }

  /** When `wake` is to be called, if nothing comes before. */
  get wakeAtMs(): number {
    let at = Infinity;
    for (const querier of this.#queriers.values()) at = Math.min(at, querier.wakeAtMs);
    for (const { members } of this.#groups.values()) {
      for (const member of members.values()) {
        at = Math.min(at, member.isAskedFor ? member.endsMs : this.#askAtMs(member));
      }
    }
    return at;
  }

  /** A join that was checked. Of groups that this router does not serve it changes nothing. */
  joined(join: AcceptedJoin, nowMs: number): MembershipOutput[] {
    const group = this.#groups.get(formatIp(join.group));
    if (!group) return [];
    const name = join.replica ?? formatIp(join.address);
    const unusable = (reason: string): MembershipOutput[] => [
      { kind: 'event', event: { event: 'unusable', group: group.address, member: name, reason } },
    ];
    const known = group.members.get(name);
    if (!known && group.members.size >= this.#membersMax) return unusable(`more than ${this.#membersMax} members`);
    const said = saidBy(join, group.partition, known);
    if (!said.ok) return unusable(said.reason);
    // What a member said earlier, or a host's own kernel says, keeps nobody alive and takes nothing back.
    if (known && join.epoch < known.claims.epoch) return [];
    const member = known ?? {
      name,
      claims: new Claims(join),
      said: said.value,
      serial: null,
      endsMs: 0,
      isAskedFor: false,
    };
    member.said = said.value;
    member.serial = join.serial;
    group.members.set(name, member);
    const wasMember = known !== undefined && !known.claims.isLeave;
    const isChanged = member.claims.take(join, said.value.slots);
    // Those who left are remembered for as long, so that no earlier join brings them back.
    member.endsMs = nowMs + membershipIntervalMs(this.#timers);
    member.isAskedFor = member.claims.isLeave;
    if (!isChanged) return [];
    const outputs: MembershipOutput[] = [];
    const { isLeave, link } = member.claims;
    if (wasMember === isLeave) {
      outputs.push({
        kind: 'event',
        event: { event: isLeave ? 'left' : 'joined', group: group.address, member: name, link },
      });
    }
    return [...outputs, ...settle(group)];
  }

  /** Certificates that are not believed any more: what was joined with them ends at once. */
  revoke(address: IpAddress, revokedSerials: ReadonlySet<string>): MembershipOutput[] {
    const group = this.#groups.get(formatIp(address));
    const revoked = [...(group?.members.values() ?? [])].filter(
      ({ serial }) => serial !== null && isRevoked(serial, revokedSerials),
    );
    if (!group || revoked.length === 0) return [];
    const outputs = revoked.map(({ name, claims }): MembershipOutput => {
      group.members.delete(name);
      return { kind: 'event', event: { event: 'revoked', group: group.address, member: name, link: claims.link } };
    });
    return [...outputs, ...settle(group)];
  }

  /** A query of another router, or of a switch. */
  queried(link: string, source: IpAddress, nowMs: number): MembershipOutput[] {
    const isNew = this.#queriers.get(link)?.heard(source, nowMs) ?? false;
    return isNew ? [{ kind: 'event', event: { event: 'querier', link, address: source } }] : [];
  }

  /** Asks all members at once, as at the start: until now none of their joins counted. */
  ask(): MembershipOutput[] {
    return [...this.#queriers].map(([link, querier]) => {
      return { kind: 'query', link, query: querier.generalQuery(this.#timers.startupResponseMs) };
    });
  }

  /** What time alone brings: queries, and the end of members. */
  wake(nowMs: number): MembershipOutput[] {
    const outputs: MembershipOutput[] = [];
    const asked = new Set<string>();
    const ask = (link: string, query: IgmpQuery): void => {
      asked.add(link);
      outputs.push({ kind: 'query', link, query });
    };
    for (const [link, querier] of this.#queriers) {
      const { query, isOver } = querier.due(nowMs);
      if (isOver) outputs.push({ kind: 'event', event: { event: 'querier', link, address: null } });
      if (query) ask(link, query);
    }
    for (const group of this.#groups.values()) {
      const ended = [...group.members.values()].filter(({ endsMs }) => nowMs >= endsMs);
      for (const { name, claims } of ended) {
        group.members.delete(name);
        if (claims.isLeave) continue;
        const event = { event: 'expired', group: group.address, member: name, link: claims.link } as const;
        outputs.push({ kind: 'event', event });
      }
      if (ended.length > 0) outputs.push(...settle(group));
      for (const member of group.members.values()) {
        if (member.isAskedFor || nowMs < this.#askAtMs(member)) continue;
        member.isAskedFor = true;
        const { link } = member.claims;
        const querier = this.#queriers.get(link);
        if (querier && !asked.has(link)) ask(link, querier.generalQuery(this.#timers.queryResponseMs));
      }
    }
    return outputs;
  }

  /** With two response times to go: a querier would have asked before. */
  #askAtMs({ endsMs }: Member): number {
    return endsMs - 2 * this.#timers.queryResponseMs;
  }
}

function saidBy(join: AcceptedJoin, partition: Partition, known: Member | undefined): Result<Member['said']> {
  const filters = join.isLeave ? nothing : join.filters;
  if (known && sameFilters(known.said.filters, filters)) return ok(known.said);
  const slots = slotsOfFilters(partition, filters);
  return slots.ok ? ok({ filters, slots: slots.value }) : slots;
}

function sameFilters(a: JoinFilters, b: JoinFilters): boolean {
  const same = (some: readonly Filter[], others: readonly Filter[]): boolean =>
    some.length === others.length &&
    some.every(({ value, mask }, i) => {
      const other = others[i];
      return other !== undefined && sameIp(value, other.value) && sameIp(mask, other.mask);
    });
  return same(a.permit, b.permit) && same(a.prohibit, b.prohibit);
}

/** Gives each slot its owner anew. */
function settle(group: Group): MembershipOutput[] {
  const holders = new Map<number, Member>();
  const conflicts = new Map<string, { holder: string; claimant: string; epoch: number; slots: number[] }>();
  for (const member of group.members.values()) {
    for (const slot of member.claims.slots) {
      const other = holders.get(slot);
      const isFirst = !other || member.claims.goesBefore(other.claims, slot);
      if (isFirst) holders.set(slot, member);
      if (other?.claims.epoch !== member.claims.epoch) continue;
      const [holder, claimant] = isFirst ? [member.name, other.name] : [other.name, member.name];
      const key = `${holder} ${claimant} ${member.claims.epoch}`;
      const conflict = conflicts.get(key) ?? { holder, claimant, epoch: member.claims.epoch, slots: [] };
      conflict.slots.push(slot);
      conflicts.set(key, conflict);
    }
  }
  const outputs: MembershipOutput[] = [];
  for (const [key, conflict] of conflicts) {
    if (group.conflicts.has(key)) continue;
    outputs.push({ kind: 'event', event: { event: 'conflict', group: group.address, ...conflict } });
  }
  group.conflicts = new Set(conflicts.keys());
  const owners = new Map(
    [...holders].map(([slot, { claims }]) => [slot, { address: claims.address, link: claims.link }]),
  );
  if (sameOwners(owners, group.owners)) return outputs;
  group.owners = owners;
  return [...outputs, { kind: 'owners', group: group.address, owners }];
}

function sameOwners(a: Owners, b: Owners): boolean {
  if (a.size !== b.size) return false;
  for (const [slot, { address, link }] of a) {
    const other = b.get(slot);
    if (!other || other.link !== link || !sameIp(other.address, address)) return false;
  }
  return true;
}
