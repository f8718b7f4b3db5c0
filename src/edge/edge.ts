import type { Logger } from 'pino';
import { portOf } from '../agent/config.ts';
import { addressOf, formatIp, type IpAddress } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { messageOf } from '../base/operating-error.ts';
import type { EdgeApplied, EdgePlane, EdgeService, EdgeTable, NextHop } from '../dataplane/edge.ts';
import { joinCryptography } from '../platform/join-signatures.ts';
import { type LinkSubnets, openLinkSubnets, ownAddress } from '../platform/link-addresses.ts';
import { interfaceIndex } from '../platform/packet-socket.ts';
import { JoinChecks, type RefusalReason } from '../router/join-checks.ts';
import { type MembershipOutput, Memberships, type Owners } from '../router/memberships.ts';
import { StandingOwners } from '../router/standing-owners.ts';
import { Tags } from '../router/tags.ts';
import { partitionOf } from '../space/partition.ts';
import type { Tagged } from '../wire/control-message.ts';
import type { TagsSaid } from '../wire/tagged-flows.ts';
import type { Access } from './access.ts';
import type { RoutedService } from './config.ts';
import { createTagsOf, flowsOf } from './flow-tags.ts';
import type { KernelTouches } from './kernel-touches.ts';
import { type Links, openLinks } from './links.ts';
import { UnusableJoins } from './unusable-joins.ts';

/** A slot that one member has given up and none has taken yet goes on to the former for so long. */
const keepMs = 3000;
/** What an earlier process left stands for so long, by when the members have answered this one's first queries. */
const startMs = 5000;
/** How often it is asked whether somebody else has changed the kernel, and whether a link is back. */
const lookMs = 2000;

export interface EdgeParts {
  readonly links: readonly string[];
  /** Devices that clients of groups are behind. */
  readonly clients: readonly string[];
  readonly services: readonly { readonly config: RoutedService; readonly access: Access }[];
  readonly plane: EdgePlane;
  readonly touches: Pick<KernelTouches, 'take' | 'touch'>;
  readonly log: Logger;
  /** The kernel goes by these joins now. */
  readonly onStanding: (service: string, members: ReturnType<Memberships['epochs']>) => void;
  /** It goes by what this member has said of its flows. */
  readonly onTagged: (service: string, member: string, tagged: Tagged) => void;
}

/** A running router: hears joins, checks them, and makes the kernel send each packet to the one replica whose join covers it. */
export interface Edge {
  memberships(): Memberships;
  refused(): ReadonlyMap<RefusalReason, number>;
  /** A member says which flows it holds of slots that it has given away; it is answered once the kernel goes by that. Of one whose joins are not known nothing counts. */
  tell(service: string, member: string, session: number, said: TagsSaid): void;
  /** How many flows of a service go to another than the owner of their slot. */
  tagged(service: string): number;
  /** Ends at once; the kernel goes on. */
  stop(): Promise<void>;
}

export function startEdge(parts: EdgeParts): Edge {
  return new RunningEdge(parts);
}

/** One service, and what of it stands in the kernel. */
interface Served {
  readonly service: Omit<EdgeService, 'owners' | 'tags'>;
  readonly group: IpAddress;
  readonly access: Access;
  readonly standing: StandingOwners;
  readonly tags: Tags;
  readonly tagsOf: ReturnType<typeof createTagsOf>;
  /** Who is to be answered for its flows. */
  readonly telling: Set<string>;
}

class RunningEdge implements Edge {
  readonly #parts: EdgeParts;
  readonly #served: readonly Served[];
  readonly #checks: JoinChecks;
  readonly #memberships: Memberships;
  readonly #subnets: LinkSubnets = openLinkSubnets(() => performance.now());
  readonly #links: Links;
  readonly #unusable: UnusableJoins;
  readonly #looking: NodeJS.Timeout;
  #timer: NodeJS.Timeout | null = null;
  #applying: NodeJS.Immediate | null = null;
  #isStopped = false;
  /** Services whose group is known. */
  #known: ReadonlySet<Served> = new Set();
  /** The kernel has refused what is to stand. */
  #isBehind = false;

  constructor(parts: EdgeParts) {
    const { links, clients } = parts;
    // Said before anything is done, if one is not there.
    for (const device of clients) interfaceIndex(device);
    const now = performance.now();
    this.#parts = parts;
    this.#served = servedBy(parts, now);
    const groups = this.#served.map(({ group, service }) => ({ address: group, partition: service.partition }));
    this.#memberships = new Memberships(
      { links: links.map((name) => ({ name, address: ownAddress(name) })), groups },
      now,
    );
    this.#checks = new JoinChecks({
      ...joinCryptography,
      isOnLink: this.#subnets.isOnLink,
      isServed: (group) => this.#ofGroup(group) !== undefined,
      admission: (group) => this.#ofGroup(group)?.access.admission() ?? null,
    });
    this.#links = openLinks(links, (packet, link) => this.#receive(packet, link), parts.log);
    this.#unusable = new UnusableJoins(parts.log);
    this.#known = new Set(this.#served.filter(({ access }) => access.admission() !== null));
    this.#looking = setInterval(() => this.#look(), lookMs);
    this.#apply();
    this.#wake();
  }

  memberships(): Memberships {
    return this.#memberships;
  }

  refused(): ReadonlyMap<RefusalReason, number> {
    return this.#checks.refused;
  }

  tell(service: string, member: string, session: number, said: TagsSaid): void {
    const served = this.#served.find((each) => each.service.name === service);
    const at = served && this.#memberships.places(served.group).get(member);
    // Datagrams to a group go by their slot alone.
    if (!served || !at || served.service.clientDevices) return;
    served.tags.tell(member, at, session, said, performance.now());
    served.telling.add(member);
    this.#applySoon();
  }

  tagged(service: string): number {
    const served = this.#served.find((each) => each.service.name === service);
    return served?.tags.standing(this.#memberships.places(served.group), performance.now()).size ?? 0;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#looking);
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#applying) clearImmediate(this.#applying);
    await this.#links.close();
  }

  #receive(packet: Uint8Array, link: string): void {
    const monotonicMs = performance.now();
    const judgement = this.#checks.receive(packet, link, { wallMs: Date.now(), monotonicMs });
    if (judgement.kind === 'query') {
      this.#perform(this.#memberships.queried(link, judgement.source, monotonicMs));
    } else {
      for (const { reason, detail } of judgement.refusals) this.#parts.log.debug({ reason }, `join refused: ${detail}`);
      for (const join of judgement.joins) this.#perform(this.#memberships.joined(join, monotonicMs));
      // Also of a join that changes no owner the replicas wait to hear.
      if (judgement.joins.length > 0) this.#applySoon();
    }
    this.#sleep();
  }

  #wake(): void {
    this.#timer = null;
    const now = performance.now();
    this.#perform(this.#memberships.wake(now));
    if (this.#served.some((each) => now >= nextOf(each))) this.#applySoon();
    this.#sleep();
  }

  #sleep(): void {
    if (this.#isStopped) return;
    if (this.#timer) clearTimeout(this.#timer);
    const next = Math.min(this.#memberships.wakeAtMs, ...this.#served.map(nextOf));
    this.#timer = setTimeout(
      () => this.#wake(),
      Math.min(maxTimerMs, Math.max(0, Math.ceil(next - performance.now()))),
    );
  }

  #perform(outputs: readonly MembershipOutput[]): void {
    for (const output of outputs) {
      if (output.kind === 'query') {
        this.#links.ask(output.link, output.query);
      } else if (output.kind === 'owners') {
        this.#ofGroup(output.group)?.standing.claim(output.owners, performance.now());
        this.#applySoon();
      } else if (output.event.event === 'unusable') {
        this.#unusable.take(output.event);
      } else {
        const { event, ...said } = output.event;
        this.#parts.log.info(plain(said), `group: ${event}`);
      }
    }
  }

  /** Once for all joins of one turn. */
  #applySoon(): void {
    if (this.#isStopped) return;
    this.#applying ??= setImmediate(() => this.#apply());
  }

  #apply(): void {
    this.#applying = null;
    const now = performance.now();
    const services = this.#served.map(({ service, group, standing, tags, tagsOf }) => {
      const places = this.#memberships.places(group);
      const owners = standing.owners(now, places.values());
      tags.own(owners, now);
      return {
        ...{ ...service, owners: nextHopsOf(owners) },
        tags: tagsOf(tags.standing(places, now)),
      };
    });
    const { errors, services: standing, reaches } = this.#applied({ services });
    this.#isBehind = errors.length > 0;
    for (const error of errors) this.#parts.log.error(`the kernel refused: ${messageOf(error)}`);
    for (const { service, group, tags, telling } of this.#served) {
      if (!standing.has(service.name)) continue;
      const places = this.#memberships.places(group);
      const isReached = (member: string): boolean => {
        const at = places.get(member);
        return at !== undefined && reaches({ address: at.address, device: at.link });
      };
      // What a member waits for that is not reached is said once it is.
      const reached = this.#memberships.epochs(group).filter(({ name }) => isReached(name));
      this.#parts.onStanding(service.name, reached);
      for (const member of [...telling].filter(isReached)) {
        this.#parts.onTagged(service.name, member, tags.said(member));
        telling.delete(member);
      }
    }
  }

  #applied(table: EdgeTable): EdgeApplied {
    try {
      return this.#parts.plane.apply(table);
    } catch (error) {
      return { errors: [error], services: new Set(), reaches: () => false };
    }
  }

  #look(): void {
    this.#askAnew();
    this.#unusable.tell();
    for (const served of this.#served) this.#revoke(served);
    if (this.#isBehind) this.#apply();
    else if (this.#parts.touches.take(performance.now())) this.#repair();
  }

  /** Whoever is revoked gets nothing from now on. */
  #revoke({ group, access, standing }: Served): void {
    const places = this.#memberships.places(group);
    const outputs = this.#memberships.revoke(group, access.admission()?.revokedSerials ?? new Set());
    this.#perform(outputs);
    for (const output of outputs) {
      if (output.kind !== 'event' || output.event.event !== 'revoked') continue;
      const place = places.get(output.event.member);
      if (place) standing.forget(place);
    }
  }

  /** Joins that came while a group was not known did not count, those on a link that was away were not heard, and without being asked nobody says them again for minutes. */
  #askAnew(): void {
    const known = new Set(this.#served.filter(({ access }) => access.admission() !== null));
    const isMore = [...known].some((each) => !this.#known.has(each));
    this.#known = known;
    const isBack = this.#links.look();
    // Its members answer within a second.
    if (isBack) this.#subnets.forget();
    if (isBack || isMore) this.#perform(this.#memberships.ask());
  }

  #repair(): void {
    try {
      if (this.#parts.plane.repair()) this.#parts.log.warn('somebody else had changed the rules; they are back');
    } catch (error) {
      this.#parts.touches.touch();
      this.#parts.log.error(`the kernel refused: ${messageOf(error)}`);
    }
  }

  #ofGroup(group: IpAddress): Served | undefined {
    return this.#served.find((each) => formatIp(each.group) === formatIp(group));
  }
}

/** What a timer of Node can wait. */
const maxTimerMs = 2 ** 31 - 1;

function servedBy({ clients, services, plane }: EdgeParts, now: number): Served[] {
  const wanted = services.map(({ config: { delivery, service }, access }) => {
    const partition = partitionOf(addressOf(service.partition));
    assert(partition.ok, 'a checked partition');
    const edge = {
      ...{ name: service.name, address: addressOf(service.address), partition: partition.value },
      ports: service.ports.map(portOf),
    };
    const ofGroup = delivery === 'group' ? { clientDevices: clients } : {};
    return { service: { ...edge, ...ofGroup }, group: addressOf(service.group), access };
  });
  const none = { owners: new Map<number, NextHop>(), tags: new Map<string, NextHop>() };
  const left = plane.adopt(wanted.map(({ service }) => ({ ...service, ...none }))).services;
  return wanted.map((each) => {
    const { owners, tags } = left.find(({ name }) => name === each.service.name) ?? none;
    const standing = new Map([...owners].map(([slot, { address, device }]) => [slot, { address, link: device }]));
    return {
      ...{ ...each, standing: new StandingOwners(keepMs, standing, now + startMs) },
      ...{ tags: new Tags(each.service.partition, flowsOf(tags), now + startMs), tagsOf: createTagsOf() },
      telling: new Set<string>(),
    };
  });
}

/** When something of a service ends by itself. */
function nextOf({ standing, tags }: Served): number {
  return Math.min(standing.nextMs, tags.nextMs);
}

function nextHopsOf(owners: Owners): ReadonlyMap<number, NextHop> {
  return new Map([...owners].map(([slot, { address, link }]) => [slot, { address, device: link }]));
}

/** Addresses as text. */
function plain(said: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(said).map(([key, value]) => [key, isAddress(value) ? formatIp(value) : value]),
  );
}

function isAddress(value: unknown): value is IpAddress {
  return typeof value === 'object' && value !== null && 'family' in value && 'value' in value;
}
