import type { IpAddress } from '../base/address.ts';
import type { IgmpQuery } from '../wire/igmp.ts';
import { type MembershipTimers, otherQuerierPresentMs } from './membership-timers.ts';

/** Who asks on one link: the router with the lowest address (RFC 3376, section 6.6.2), which may be another. */
export class Querier {
  readonly #address: IpAddress;
  readonly #timers: MembershipTimers;
  #startupLeft: number;
  #nextMs: number;
  #other: { readonly address: IpAddress; readonly untilMs: number } | null = null;

  constructor(address: IpAddress, timers: MembershipTimers, nowMs: number) {
    this.#address = address;
    this.#timers = timers;
    this.#startupLeft = timers.startupQueryCount;
    this.#nextMs = nowMs;
  }

  /** The other router that asks; null when this one does. */
  get other(): IpAddress | null {
    return this.#other?.address ?? null;
  }

  get wakeAtMs(): number {
    return Math.min(this.#nextMs, this.#other?.untilMs ?? Infinity);
  }

  /** True when another router has taken over. Snooping switches ask from 0.0.0.0 and are none (RFC 4541, section 2.1.1). */
  heard(source: IpAddress, nowMs: number): boolean {
    if (source.family !== this.#address.family || source.value === 0n) return false;
    if (source.value >= this.#address.value) return false;
    if (this.#other && this.#other.address.value < source.value) return false;
    const isNew = this.#other?.address.value !== source.value;
    this.#other = { address: source, untilMs: nowMs + otherQuerierPresentMs(this.#timers) };
    // What is left of the start is asked all the same: it is how this router learns of its members soon.
    if (this.#startupLeft === 0) this.#nextMs = Infinity;
    return isNew;
  }

  /** The query that is due, if one is. `isOver` says that the other router is gone. */
  due(nowMs: number): { readonly query: IgmpQuery | null; readonly isOver: boolean } {
    const isOver = this.#other !== null && nowMs >= this.#other.untilMs;
    if (isOver) {
      this.#other = null;
      this.#nextMs = nowMs;
    }
    if (nowMs < this.#nextMs) return { query: null, isOver };
    const { startupResponseMs, startupQueryIntervalMs, queryResponseMs, queryIntervalMs } = this.#timers;
    const isStart = this.#startupLeft > 0;
    if (isStart) this.#startupLeft--;
    if (this.#startupLeft > 0) this.#nextMs = nowMs + startupQueryIntervalMs;
    else this.#nextMs = this.#other ? Infinity : nowMs + queryIntervalMs;
    return { query: this.generalQuery(isStart ? startupResponseMs : queryResponseMs), isOver };
  }

  generalQuery(maxResponseMs: number): IgmpQuery {
    const { robustness, queryIntervalMs: intervalMs } = this.#timers;
    return {
      ...{
        kind: 'query',
        version: 3,
        group: null,
        maxResponseMs,
        suppress: false,
        robustness,
        intervalMs,
        sources: [],
      },
    };
  }
}
