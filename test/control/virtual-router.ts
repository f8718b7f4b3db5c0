import type { Row } from '../../src/dataplane/forwarding-table.ts';
import { encodeMessage } from '../../src/wire/control-message.ts';
import type { VirtualNetwork } from './virtual-network.ts';

/** How often it says what it has said already. */
const repeatMs = 250;

/** A router of a virtual network: sends each packet to the one replica whose newest claim covers its slot, and tells the agents by which claims its kernel goes. */
export class VirtualRouter {
  readonly #net: VirtualNetwork;
  readonly #name: string;
  /** How long a join takes to arrive, and the kernel to follow. */
  readonly #delayMs: () => number;
  readonly #claims = new Map<string, { readonly epoch: number; readonly slots: ReadonlySet<number> }>();
  /** A slot that nobody claims any more is its last owner's until somebody else claims it. */
  readonly #owners = new Map<number, string>();
  #counter = 0;
  isDown = false;

  constructor(net: VirtualNetwork, name: string, delayMs: () => number) {
    this.#net = net;
    this.#name = name;
    this.#delayMs = delayMs;
    const repeat = (): void => {
      if (!this.isDown) this.#tell();
      net.at(net.now + repeatMs, repeat);
    };
    repeat();
  }

  join(node: string, epoch: number, slots: readonly number[]): void {
    const net = this.#net;
    net.at(net.now + this.#delayMs(), () => {
      if (this.isDown || epoch < (this.#claims.get(node)?.epoch ?? 0)) return;
      this.#claims.set(node, { epoch, slots: new Set(slots) });
      for (let slot = 0; slot < net.partition.slotCount; slot++) {
        const owner = this.#newest(slot);
        if (owner !== null) this.#owners.set(slot, owner);
      }
      this.#tell();
    });
  }

  #tell(): void {
    const members = [...this.#claims].map(([name, { epoch }]) => ({ name, epoch }));
    const body = encodeMessage({ kind: 'routed', members });
    const message = { kind: 'message', via: 'multicast', sender: this.#name, session: 1, body } as const;
    for (const name of this.#net.names) {
      const counter = this.#counter++;
      this.#net.at(this.#net.now + this.#delayMs(), () => {
        this.#net.input(name, { ...message, at: this.#net.now, counter });
      });
    }
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
    if (owner === undefined || !this.#net.isLeased(owner)) return null;
    const row = this.#rowOf(owner, slot);
    if (row && isOwned(row)) return owner;
    if (row?.kind !== 'relay') return null;
    const peer = this.#net.names.find((name) => this.#net.host(name).mac === row.peer) ?? '';
    const their = this.#rowOf(peer, slot);
    const takes = their && (isOwned(their) || (their.kind === 'old' && their.peer === this.#net.host(owner).mac));
    return takes && this.#net.isLeased(peer) ? peer : null;
  }

  #rowOf(name: string, slot: number): Row | undefined {
    return this.#net.host(name).rows.get(slot);
  }
}

function isOwned({ kind }: Row): boolean {
  return kind === 'own' || kind === 'new';
}
