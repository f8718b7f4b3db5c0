import type { Rows } from '../dataplane/forwarding-table.ts';
import { sameKeys, type UdpFlows, udpFlowsOf } from '../dataplane/staying.ts';
import { type Partition, slotOf } from '../space/partition.ts';
import { encodeKnown, type KeptFlows, type Known } from '../wire/kept-flows.ts';
import type { Ledger } from '../wire/ledger.ts';
import type { ControlOutput } from './io.ts';
import type { Membership } from './membership.ts';
import type { Timers } from './timers.ts';
import { partsOf } from './transfer.ts';

type Send = ControlOutput & { readonly kind: 'send' };

/** As many flows as may stay elsewhere; a holder beyond that gets no answer, and keeps nothing. */
export const foreignMax = 65_536;

/** What a holder has said last. */
interface Statement extends Known {
  readonly slots: ReadonlySet<number>;
  readonly flows: UdpFlows;
}

/** The UDP flows of slots of this host, or of slots that are on their way to it, that stay at hosts that had them before. */
export class Foreign {
  readonly #partition: Partition;
  readonly #membership: Membership;
  readonly #timers: Timers;
  readonly #statements = new Map<string, Statement>();
  /** Answers owed once the kernel does what was said. */
  readonly #owed = new Map<string, Known>();
  /** Of an earlier life, until the holders have said it anew. */
  #adopted: UdpFlows;
  #flows: UdpFlows;
  #isNews = true;
  #ledger: Ledger | null = null;
  #rows: Rows = new Map();
  #transfer = 0;

  constructor(partition: Partition, membership: Membership, timers: Timers, adopted: UdpFlows) {
    this.#partition = partition;
    this.#membership = membership;
    this.#timers = timers;
    this.#adopted = adopted;
    this.#flows = adopted;
  }

  get flows(): UdpFlows {
    return this.#flows;
  }

  /** False when it names a flow that is of none of its slots. */
  take(sender: string, session: number, { number, slots, flows }: KeptFlows): boolean {
    const said = new Set(slots);
    if (!flows.every(({ client }) => said.has(slotOf(this.#partition, client)))) return false;
    const last = this.#statements.get(sender);
    if (last && (last.session > session || (last.session === session && last.number > number))) return true;
    const others = [...this.#statements].reduce(
      (sum, [name, each]) => sum + (name === sender ? 0 : each.flows.size),
      0,
    );
    if (others + flows.length > foreignMax) return true;
    if (last?.session !== session || last.number !== number) {
      this.#statements.set(sender, { session, number, slots: said, flows: udpFlowsOf(flows) });
      this.#isNews = true;
    }
    this.#owed.set(sender, { session, number });
    return true;
  }

  /** Takes notice of the map, of the rows that follow from it, and of who is heard. */
  follow(ledger: Ledger, rows: Rows, now: number): void {
    for (const [name, { session }] of this.#statements) {
      // Such a host has no lease any more: what stayed there is nobody's.
      const isGone = !ledger.members.includes(name) && this.#membership.silence(name, now) > this.#timers.deadMs;
      // Another life of its agent has adopted nothing that was kept.
      if (!isGone && this.#membership.session(name) <= session) continue;
      this.#statements.delete(name);
      this.#isNews = true;
    }
    if (!this.#isNews && ledger === this.#ledger && rows === this.#rows) return;
    this.#isNews = false;
    this.#ledger = ledger;
    this.#rows = rows;
    this.#adopted = this.#stillAdopted(ledger);
    const all = [this.#adopted, ...[...this.#statements.values()].map(({ flows }) => flows)];
    // A slot that has settled is nobody else's.
    const next = udpFlowsOf(
      all
        .flatMap((flows) => [...flows.values()])
        .filter(({ client }) => {
          const kind = rows.get(slotOf(this.#partition, client))?.kind;
          return kind === 'new' || kind === 'relay';
        }),
    );
    if (!sameKeys(next, this.#flows)) this.#flows = next;
  }

  /** Whether a holder has said that the flow of this key stays with it. */
  readonly staysElsewhere = (key: string): boolean =>
    this.#adopted.has(key) || [...this.#statements.values()].some(({ flows }) => flows.has(key));

  /** Whether a holder has told this life of the agent what stays with it of `slot`. */
  readonly hasSaid = (holder: string, slot: number): boolean => this.#statements.get(holder)?.slots.has(slot) ?? false;

  /** Answers to what the kernel does by now. */
  answers(): Send[] {
    const sends = [...this.#owed].flatMap(([peer, known]) =>
      partsOf('known', ++this.#transfer, encodeKnown(known)).map(
        (body): Send => ({ kind: 'send', to: { peer }, body }),
      ),
    );
    this.#owed.clear();
    return sends;
  }

  /** Until every holder of their slot has said what stays with it, or has none. */
  #stillAdopted({ holders }: Ledger): UdpFlows {
    if (this.#adopted.size === 0) return this.#adopted;
    const unsaid = new Set(
      holders.flatMap(({ name, slots }) => slots.filter((slot) => !this.#statements.get(name)?.slots.has(slot))),
    );
    return udpFlowsOf([...this.#adopted.values()].filter(({ client }) => unsaid.has(slotOf(this.#partition, client))));
  }
}
