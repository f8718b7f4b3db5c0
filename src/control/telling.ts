import { encodeKept, type Known } from '../wire/kept-flows.ts';
import type { Ledger } from '../wire/ledger.ts';
import type { ControlOutput } from './io.ts';
import type { Keeping, KeptFlow, KeptFlows, Knows } from './keeping.ts';
import type { Membership } from './membership.ts';
import type { Timers } from './timers.ts';
import { partsOf } from './transfer.ts';

type Send = ControlOutput & { readonly kind: 'send' };

/** What one peer is told. */
interface Told {
  readonly number: number;
  readonly slots: readonly number[];
  readonly flows: readonly KeptFlow[];
  readonly bodies: readonly Uint8Array[];
  /** The number of the first that named each slot, without a gap since. */
  readonly since: ReadonlyMap<number, number>;
  /** The newest that was answered, and by which life of the peer. */
  answered: { readonly number: number; readonly session: number } | null;
  sentAt: number;
}

/**
 * Tells the owners of slots, and those that are about to be, which flows of them stay here. Each is told all there is for it at once, again until it answers, and again when
 * its agent has begun another life. What is told is what the kernel does already: it lets go of a flow before another takes it.
 */
export class Telling {
  readonly #node: string;
  readonly #session: number;
  readonly #membership: Membership;
  readonly #timers: Timers;
  readonly #told = new Map<string, Told>();
  #ledger: Ledger | null = null;
  #version = -1;
  #number = 0;
  #transfer = 0;

  constructor(node: string, session: number, membership: Membership, timers: Timers) {
    this.#node = node;
    this.#session = session;
    this.#membership = membership;
    this.#timers = timers;
  }

  readonly knows: Knows = (peer, slot) => {
    const told = this.#told.get(peer);
    return (told?.answered?.number ?? -1) >= (told?.since.get(slot) ?? Number.POSITIVE_INFINITY);
  };

  note(peer: string, session: number, known: Known): void {
    const told = this.#told.get(peer);
    if (!told || known.session !== this.#session || known.number > told.number) return;
    if (known.number < (told.answered?.number ?? 0)) return;
    told.answered = { number: known.number, session };
  }

  /** What stays here, and the kernel knows of it. */
  say(ledger: Ledger, { version, readSlots: slots, flows }: Keeping): void {
    if (ledger === this.#ledger && version === this.#version) return;
    this.#ledger = ledger;
    this.#version = version;
    const concerned = new Map<string, number[]>([...this.#told.keys()].map((peer) => [peer, []]));
    const moving = new Map(ledger.moves.flatMap(({ to, slots: moved }) => moved.map((slot) => [slot, to] as const)));
    for (const slot of slots) {
      for (const peer of new Set([ledger.owners[slot] ?? null, moving.get(slot) ?? null])) {
        if (peer === null || peer === this.#node) continue;
        const list = concerned.get(peer) ?? [];
        list.push(slot);
        concerned.set(peer, list);
      }
    }
    for (const [peer, list] of concerned) this.#sayTo(peer, list, flows);
  }

  #sayTo(peer: string, concerned: readonly number[], all: KeptFlows): void {
    const slots = [...concerned].sort((a, b) => a - b);
    const among = new Set(slots);
    const flows = [...all.values()].filter(({ slot }) => among.has(slot));
    const before = this.#told.get(peer);
    if (before && sameList(before.slots, slots) && sameList(before.flows, flows)) {
      if (slots.length === 0 && this.#isAnswered(peer, before)) this.#told.delete(peer);
      return;
    }
    const number = ++this.#number;
    const value = encodeKept({ number, slots, flows });
    this.#told.set(peer, {
      ...{ number, slots, flows, bodies: partsOf('kept', ++this.#transfer, value) },
      since: new Map(slots.map((slot) => [slot, before?.since.get(slot) ?? number])),
      answered: before?.answered ?? null,
      sentAt: Number.NEGATIVE_INFINITY,
    });
  }

  #isAnswered(peer: string, { number, answered }: Told): boolean {
    return answered?.number === number && answered.session === this.#membership.session(peer);
  }

  /** What is due now. */
  toSend(now: number): Send[] {
    return [...this.#told].flatMap(([peer, told]) => {
      if (this.#isAnswered(peer, told) || !this.#membership.heard(peer, now)) return [];
      if (now < told.sentAt + this.#timers.resendMs) return [];
      told.sentAt = now;
      return told.bodies.map((body): Send => ({ kind: 'send', to: { peer }, body }));
    });
  }
}

function sameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((each, i) => each === b[i]);
}
