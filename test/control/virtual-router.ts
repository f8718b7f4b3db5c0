import { type IpAddress, ipAddress } from '../../src/base/address.ts';
import { flowKey, type TcpFlow } from '../../src/base/tcp-flow.ts';
import type { Row } from '../../src/dataplane/forwarding-table.ts';
import { createTagHearing, type Heard } from '../../src/edge/tag-hearing.ts';
import { type FlowTags, Tags } from '../../src/router/tags.ts';
import { encodeMessage } from '../../src/wire/control-message.ts';
import type { VirtualNetwork } from './virtual-network.ts';

interface Join {
  readonly epoch: number;
  readonly slots: ReadonlySet<number>;
}

/** How long what an earlier life has left stands. */
const leftMs = 5000;

/** How often it says what it has said already. */
const repeatMs = 250;

/** A router of a virtual network: sends each packet to the one replica whose newest claim covers its slot, and tells the agents by which claims its kernel goes. */
export class VirtualRouter {
  readonly #net: VirtualNetwork;
  readonly name: string;
  /** How long a join takes to arrive, and the kernel to follow. */
  readonly #delayMs: () => number;
  readonly #joined = new Map<string, Join>();
  /** The joins that its kernel goes by. */
  readonly #claims = new Map<string, Join>();
  /** A slot that nobody claims any more is its last owner's until somebody else claims it. */
  readonly #owners = new Map<number, string>();
  #tags: Tags;
  #hearing: (heard: Heard) => void;
  /** Of the kernel. */
  #tagged: FlowTags = new Map();
  #session = 1;
  #counter = 0;
  isDown = false;
  /** It hears nothing of flows. */
  isDeaf = false;

  constructor(net: VirtualNetwork, name: string, delayMs: () => number) {
    this.#net = net;
    this.name = name;
    this.#tags = new Tags(net.partition, new Map(), 0);
    this.#hearing = this.#newHearing();
    this.#delayMs = delayMs;
    const repeat = (): void => {
      if (!this.isDown) this.#ask();
      net.at(net.now + repeatMs, repeat);
    };
    repeat();
  }

  /** What a replica joins for from now on, and says again whenever it is asked. */
  join(node: string, epoch: number, slots: readonly number[]): void {
    this.#joined.set(node, { epoch, slots: new Set(slots) });
    this.#hear(node);
  }

  #ask(): void {
    for (const node of this.#joined.keys()) this.#hear(node);
    this.#program();
    this.#tell();
  }

  #hear(node: string): void {
    const net = this.#net;
    const joined = this.#joined.get(node);
    if (!joined) return;
    net.at(net.now + this.#delayMs(), () => {
      if (this.isDown || joined.epoch <= (this.#claims.get(node)?.epoch ?? -1)) return;
      this.#claims.set(node, joined);
      for (let slot = 0; slot < net.partition.slotCount; slot++) {
        const owner = this.#newest(slot);
        if (owner !== null) this.#owners.set(slot, owner);
      }
      this.#program();
      this.#tell();
    });
  }

  /** What a replica says to it alone. */
  hear(heard: Heard): void {
    if (!this.isDown && !this.isDeaf) this.#hearing(heard);
  }

  /** Another process goes on from what the kernel has; it has heard nobody yet, and asks for joins. */
  restart(): void {
    this.#session++;
    this.#counter = 0;
    this.#claims.clear();
    this.#tags = new Tags(this.#net.partition, this.#tagged, this.#net.now + leftMs);
    this.#hearing = this.#newHearing();
    this.#ask();
  }

  /** Where its kernel sends packets of this flow that open nothing. */
  holderOf(flow: TcpFlow): string | null {
    return this.#tagged.get(flowKey(flow))?.link ?? null;
  }

  get tagCount(): number {
    return this.#tagged.size;
  }

  #newHearing(): (heard: Heard) => void {
    return createTagHearing(this.#net.names, (name, session, said) => {
      if (!this.#claims.has(name)) return;
      this.#tags.tell(name, hopOf(name), session, said, this.#net.now);
      this.#net.at(this.#net.now + this.#delayMs(), () => {
        this.#program();
        const body = encodeMessage({ kind: 'tagged', ...this.#tags.said(name) });
        this.#say(name, body, 'unicast');
      });
    });
  }

  #program(): void {
    const { now } = this.#net;
    this.#tags.own(new Map([...this.#owners].map(([slot, name]) => [slot, hopOf(name)])), now);
    this.#tagged = this.#tags.standing(this.#claims, now);
  }

  #say(name: string, body: Uint8Array, via: 'multicast' | 'unicast'): void {
    const counter = this.#counter++;
    const session = this.#session;
    this.#net.at(this.#net.now + this.#delayMs(), () => {
      const { now } = this.#net;
      this.#net.input(name, { kind: 'message', via, sender: this.name, session, body, counter, at: now });
    });
  }

  #tell(): void {
    const members = [...this.#claims].map(([name, { epoch }]) => ({ name, epoch }));
    const body = encodeMessage({ kind: 'routed', members });
    for (const name of this.#net.names) this.#say(name, body, 'multicast');
  }

  #newest(slot: number): string | null {
    let newest: { readonly name: string; readonly epoch: number } | null = null;
    for (const [name, { epoch, slots }] of this.#claims) {
      if (slots.has(slot) && (!newest || epoch > newest.epoch)) newest = { name, epoch };
    }
    return newest?.name ?? null;
  }

  /** The replica that takes a SYN of a slot at this instant: the one that it is sent to, or the one that this relays to. */
  takerOf(slot: number): string | null {
    const owner = this.#owners.get(slot);
    return owner === undefined ? null : takerBehind(this.#net, owner, slot);
  }
}

/** Who takes a SYN of a slot that is sent to `owner`: that one, or the one that it relays to. */
export function takerBehind(net: VirtualNetwork, owner: string, slot: number): string | null {
  if (!net.isLeased(owner)) return null;
  const row = net.host(owner).rows.get(slot);
  if (row && isOwned(row)) return owner;
  if (row?.kind !== 'relay') return null;
  const peer = net.names.find((name) => net.host(name).mac === row.peer);
  return peer !== undefined && net.accepting(peer).has(slot) ? peer : null;
}

function isOwned({ kind }: Row): boolean {
  return kind === 'own' || kind === 'new';
}

/** A replica's next hop: its name says all. */
function hopOf(name: string): { readonly address: IpAddress; readonly link: string } {
  return { address: anyAddress, link: name };
}

const anyAddress = ipAddress(4, 0n);
