import type { Timers } from './timers.ts';

/**
 * At a coordinator: members whose kernels do not follow the ledgers. They take no lease by themselves, as their rows are not those of the newest ledger; so that their
 * slots do not go unserved for ever, they are named no more, and when every lease they were ever granted is over they count as gone.
 */
export class Lagging {
  readonly #timers: Timers;
  /** Since when each has been behind. */
  readonly #since = new Map<string, number>();
  readonly #namedAt = new Map<string, number>();

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Which members' kernels do not have what is in force. */
  note(behind: readonly string[], now: number): void {
    for (const name of this.#since.keys()) if (!behind.includes(name)) this.#since.delete(name);
    for (const name of behind) if (!this.#since.has(name)) this.#since.set(name, now);
  }

  /** Its heartbeat is being answered, which may grant it a lease. */
  named(name: string, now: number): void {
    this.#namedAt.set(name, now);
  }

  /** It gets no more leases until it has caught up. */
  isStalled(name: string, now: number): boolean {
    const since = this.#since.get(name);
    return since !== undefined && now >= since + this.#timers.stallMs;
  }

  /** Stalled, and for so long that no lease of it lasts. */
  isGone(name: string, now: number): boolean {
    const namedAt = this.#namedAt.get(name) ?? Number.NEGATIVE_INFINITY;
    return this.isStalled(name, now) && now >= namedAt + this.#timers.deadMs;
  }

  /** Nobody is behind any more: another coordinator begins anew. */
  clear(): void {
    this.#since.clear();
    this.#namedAt.clear();
  }
}
