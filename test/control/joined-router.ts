import { ipAddress } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { type DueReport, Joining } from '../../src/router/joining.ts';
import { type MembershipOutput, Memberships, type Owners } from '../../src/router/memberships.ts';
import { StandingOwners } from '../../src/router/standing-owners.ts';
import { coverSlots } from '../../src/space/index.ts';
import { encodeMessage } from '../../src/wire/control-message.ts';
import type { IgmpQuery } from '../../src/wire/igmp.ts';
import type { VirtualNetwork } from './virtual-network.ts';
import { takerBehind } from './virtual-router.ts';

const group = ipAddress(4, 0xef010909n);
const noOwners: Owners = new Map();
/** As the router's: how long who is not known any more keeps a slot, and what an earlier life left stands. */
const keepMs = 3000;
const leftMs = 5000;
const sayMs = 1000;

/** The members' and the routers' ends of joins, over a link that loses what it is told to. */
export class JoinLink {
  readonly routers: JoinedRouter[] = [];
  /** Whether a join of `member`, or for null a query, gets lost on its way to or from a router. */
  loses: (router: string, member: string | null) => boolean = () => false;
  readonly #net: VirtualNetwork;
  readonly #members = new Map<string, Joining>();

  constructor(net: VirtualNetwork, routers: readonly string[]) {
    this.#net = net;
    for (const [i, name] of routers.entries()) this.routers.push(new JoinedRouter(net, this, name, BigInt(i + 1)));
    net.onAdvertise = (name, { epoch, slots }) => {
      this.#member(name).take({ permit: coverSlots(net.partition, slots), prohibit: [] }, epoch, net.now);
      this.#wake(name);
    };
  }

  /** Every router sends each slot to a replica that takes it. */
  isServed(): boolean {
    return this.routers.every((router) => router.served() === this.#net.partition.slotCount);
  }

  /** All members hear a query, and other routers that somebody asks. */
  ask(from: JoinedRouter, query: IgmpQuery): void {
    if (this.loses(from.name, null)) return;
    for (const name of this.#net.running()) {
      this.#member(name).queried(query, this.#net.now);
      this.#wakeLater(name);
    }
    for (const router of this.routers) if (router !== from) router.heardQuery(from);
  }

  #member(name: string): Joining {
    const joining = this.#members.get(name) ?? new Joining({ group, random: () => this.#net.random() });
    this.#members.set(name, joining);
    return joining;
  }

  #wake(name: string): void {
    if (!this.#net.host(name).control) return;
    const due = this.#member(name).wake(this.#net.now);
    for (const router of this.routers) {
      if (due && !this.loses(router.name, name)) this.#net.at(this.#net.now + 1, () => router.hear(name, due));
    }
    this.#wakeLater(name);
  }

  #wakeLater(name: string): void {
    const at = this.#member(name).wakeAtMs;
    if (at < Infinity) this.#net.at(Math.max(at, this.#net.now + 1), () => this.#wake(name));
  }
}

/** A router of which what it knows of members, and so who owns what, is as in an edge router. */
export class JoinedRouter {
  readonly name: string;
  readonly #net: VirtualNetwork;
  readonly #link: JoinLink;
  readonly #address: bigint;
  #memberships: Memberships;
  #standing: StandingOwners;
  #session = 1;
  #counter = 0;

  constructor(net: VirtualNetwork, link: JoinLink, name: string, address: bigint) {
    this.#net = net;
    this.#link = link;
    this.name = name;
    this.#address = address;
    this.#memberships = this.#newMemberships();
    this.#standing = new StandingOwners(keepMs, noOwners, 0);
    const say = (): void => {
      this.#say();
      net.at(net.now + sayMs, say);
    };
    say();
  }

  /** Another process goes on from what the kernel has. */
  restart(): void {
    this.#session++;
    this.#counter = 0;
    this.#standing = new StandingOwners(keepMs, this.#owners(), this.#net.now + leftMs);
    this.#memberships = this.#newMemberships();
    this.#say();
  }

  hear(member: string, { filters, epoch }: DueReport): void {
    const address = ipAddress(4, BigInt(10 + this.#net.names.indexOf(member)));
    const isLeave = filters.permit.length === 0;
    const join = { group, link: 'lan', address, replica: member, serial: null, epoch, timeMs: this.#net.now };
    this.#perform(this.#memberships.joined({ ...join, isLeave, filters }, this.#net.now));
    this.#say();
  }

  heardQuery(from: JoinedRouter): void {
    this.#perform(this.#memberships.queried('lan', ipAddress(4, from.#address), this.#net.now));
  }

  /** Slots that it sends to a replica that takes them, or relays them to one that does. */
  served(): number {
    return [...this.#owners()].filter(([slot, { address }]) => {
      const owner = defined(this.#net.names[Number(address.value) - 10], 'a member');
      return takerBehind(this.#net, owner, slot) !== null;
    }).length;
  }

  #owners(): Owners {
    return this.#standing.owners(this.#net.now, this.#memberships.places(group).values());
  }

  #newMemberships(): Memberships {
    const links = [{ name: 'lan', address: ipAddress(4, this.#address) }];
    const groups = [{ address: group, partition: this.#net.partition }];
    const memberships = new Memberships({ links, groups }, this.#net.now);
    const wake = (): void => {
      if (memberships !== this.#memberships) return;
      this.#perform(memberships.wake(this.#net.now));
      this.#net.at(Math.max(this.#net.now + 1, memberships.wakeAtMs), wake);
    };
    this.#net.at(this.#net.now, wake);
    return memberships;
  }

  #perform(outputs: readonly MembershipOutput[]): void {
    for (const output of outputs) {
      if (output.kind === 'query') this.#net.at(this.#net.now + 1, () => this.#link.ask(this, output.query));
      if (output.kind === 'owners') this.#standing.claim(output.owners, this.#net.now);
    }
  }

  #say(): void {
    const body = encodeMessage({ kind: 'routed', members: this.#memberships.epochs(group) });
    const said = {
      via: 'multicast',
      sender: this.name,
      session: this.#session,
      counter: this.#counter++,
      body,
    } as const;
    this.#net.at(this.#net.now + 1, () => {
      for (const name of this.#net.names) this.#net.input(name, { kind: 'message', at: this.#net.now, ...said });
    });
  }
}
