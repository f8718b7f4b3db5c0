import type { Ledger, Move } from '../wire/ledger.ts';
import type { ControlOutput } from './io.ts';
import type { ControlConfig, Parts } from './parts.ts';
import { leavingFrom } from './rows.ts';

/** What a replica has the routers send it. */
export interface Advertised {
  /** Of the ledger that says so. */
  readonly epoch: number;
  /** Ascending. */
  readonly slots: readonly number[];
}

/** What the routers are to be told, once the kernel takes what they are to send. */
export function advertise({ share, routing }: Parts, now: number): ControlOutput[] {
  const advertised = share.known && share.confirmed ? routing.takeAdvertisement(share.known, now) : null;
  return advertised ? [{ kind: 'advertise', advertised }] : [];
}

/** Slots whose packets the routers are to send to `node`: those that it owns and is not leaving, and those that another leaves to it. */
export function advertisedSlots({ owners, moves }: Ledger, node: string): number[] {
  const receivers = [...owners];
  for (const { phase, to, slots } of moves) {
    if (phase === 'leave') for (const slot of slots) receivers[slot] = to;
  }
  return receivers.flatMap((name, slot) => (name === node ? [slot] : []));
}

/** A router that does not go by a join after so long has not heard it: each is said twice within a second. */
const missedMs = 1000;

/**
 * Routers send each packet to one replica alone, the one whose join covers it. So in phase `leave` of a move the new owner joins for the slots, the old one no longer
 * does, and the move goes on when every router's kernel goes by both joins.
 */
export class Routing {
  readonly #node: string;
  readonly #routers: readonly string[];
  readonly #isRouted: boolean;
  /** By router, what this life of it has said: of each member the epoch of the newest join that the router's kernel goes by. */
  readonly #heard = new Map<string, { readonly session: number; readonly epochs: Map<string, number> }>();
  #told: Advertised | null = null;
  #toldAt = Number.NEGATIVE_INFINITY;
  /** A router has not heard it. */
  #isMissed = false;
  /** Of the ledger that was looked at last. */
  #epoch = 0;
  /** Of the newest ledger before which others were not looked at. */
  #skippedTo = 0;

  constructor({ node, routers, copies = false }: Pick<ControlConfig, 'node' | 'routers' | 'copies'>) {
    this.#node = node;
    this.#routers = routers;
    this.#isRouted = copies;
  }

  /** The moves by which this replica leaves slots whose packets may still be sent here, as far as is known: of routers that say nothing nothing is known. */
  stillSent(ledger: Ledger): readonly Move[] {
    const leaving = leavingFrom(this.#node, ledger);
    if (this.#routers.length === 0) return this.#isRouted ? leaving : [];
    return leaving.filter((move) => this.#awaitedFor([move]).length > 0);
  }

  /** Moves wait for routers that have not said yet that they send nothing here any more of what is being left. */
  get isAwaited(): boolean {
    return this.#routers.length > 0;
  }

  /** What the routers are to be told now; null when they were told already, or there are none. */
  takeAdvertisement(ledger: Ledger, now: number): Advertised | null {
    if (this.#routers.length === 0) return null;
    const { epoch } = ledger;
    if (epoch > this.#epoch + 1) this.#skippedTo = epoch;
    this.#epoch = epoch;
    const slots = advertisedSlots(ledger, this.#node);
    // Routers are awaited to go by a join of each move's own epoch: one may end and another begin between two ledgers that are known here.
    const since = Math.max(0, ...this.#leaving(ledger).map((move) => move.since));
    const isTold = this.#told !== null && this.#told.epoch >= since && this.#told.slots.join() === slots.join();
    // Under a ledger that was not looked at another may have joined for slots that are here still, and its claim is newer.
    const isOvertaken = this.#told !== null && this.#told.epoch < this.#skippedTo && ledger.moves.length === 0;
    if (isTold && !isOvertaken && !this.#isMissed) return null;
    this.#isMissed = false;
    this.#toldAt = now;
    this.#told = { epoch, slots };
    return this.#told;
  }

  /** All that `router` goes by. What it said earlier may come later. */
  hear(
    router: string,
    session: number,
    members: readonly { readonly name: string; readonly epoch: number }[],
    now: number,
  ): void {
    const own = members.find(({ name }) => name === this.#node)?.epoch ?? -1;
    if (this.#told && own < this.#told.epoch && now >= this.#toldAt + missedMs) this.#isMissed = true;
    const before = this.#heard.get(router);
    const epochs = before?.session === session ? before.epochs : new Map<string, number>();
    for (const { name, epoch } of members) epochs.set(name, Math.max(epoch, epochs.get(name) ?? 0));
    this.#heard.set(router, { session, epochs });
  }

  /** The routers that still send packets here of slots that this replica leaves under `ledger`. */
  awaited(ledger: Ledger): readonly string[] {
    return this.#awaitedFor(leavingFrom(this.#node, ledger));
  }

  #awaitedFor(moves: readonly Move[]): readonly string[] {
    return this.#routers.filter((router) => {
      const epochOf = (name: string): number => this.#heard.get(router)?.epochs.get(name) ?? 0;
      return moves.some(({ since, from, to }) => epochOf(from) < since || epochOf(to) < since);
    });
  }

  /** Moves in phase `leave` from here or to here. */
  #leaving({ moves }: Ledger): readonly Move[] {
    return moves.filter(({ phase, from, to }) => phase === 'leave' && [from, to].includes(this.#node));
  }
}
