import type { ControlOutput } from './io.ts';
import type { Timers } from './timers.ts';

/** Marks of one life, one for each heartbeat; the numbers come up again after a day. */
const marksPerLife = 2 ** 20 - 1;
const lives = 2 ** 12;
/** A hold is renewed this often within its length: each renewal is one more element in the kernel. */
const renewalsPerHold = 64;

type Fencing = ControlOutput & { readonly kind: 'arm' | 'grant' };

/**
 * Marks for leases and holds. Each is armed in the kernel before it is asked for with a heartbeat, and the answer only makes it the one that counts: an agent that
 * is stopped between any two instructions cannot open a fence late. Marks of one life are not those of the lives before it.
 */
export class Fences {
  readonly #base: number;
  readonly #timers: Timers;
  /** The newest round whose mark holds, and whether it was granted. */
  #hold: { readonly round: number; readonly granted: boolean } = { round: -1, granted: true };
  #holds = false;
  #armHoldAt = Number.NEGATIVE_INFINITY;

  constructor(session: number, timers: Timers) {
    this.#base = (session % lives) * (marksPerLife + 1);
    this.#timers = timers;
  }

  /** Before heartbeat `round` is sent. `holdMs` is 0 while nothing is to be held. */
  arm(round: number, holdMs: number, now: number): Fencing[] {
    const mark = this.#markOf(round);
    const lease: Fencing = { kind: 'arm', fence: 'lease', mark, ms: this.#timers.leaseMs };
    if (holdMs === 0 || now < this.#armHoldAt || !this.#hold.granted) return [lease];
    this.#armHoldAt = now + holdMs / renewalsPerHold;
    this.#hold = { round, granted: false };
    return [lease, { kind: 'arm', fence: 'hold', mark, ms: holdMs }];
  }

  /** The lease asked for with `round` is granted; with it the newest hold that was asked for by then. */
  grant(round: number): Fencing[] {
    const lease: Fencing = { kind: 'grant', fence: 'lease', mark: this.#markOf(round) };
    // A connection that is taken must be able to go on.
    if (this.#hold.granted || round < this.#hold.round) return this.#holds ? [lease] : [];
    this.#hold = { ...this.#hold, granted: true };
    this.#holds = true;
    return [lease, { kind: 'grant', fence: 'hold', mark: this.#markOf(this.#hold.round) }];
  }

  /** The kernel goes by no hold any more: the next one is armed at once. */
  loseHold(): void {
    this.#armHoldAt = Number.NEGATIVE_INFINITY;
    this.#hold = { round: -1, granted: true };
    this.#holds = false;
  }

  #markOf(round: number): number {
    return this.#base + (round % marksPerLife) + 1;
  }
}
