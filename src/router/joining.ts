import { type IpAddress, sameIp } from '../base/address.ts';
import type { IgmpQuery, RecordType } from '../wire/igmp.ts';
import type { JoinFilters } from '../wire/igmp-extension.ts';

/** A report that is to be signed, with the time of now and a fresh random key, and sent. */
export interface DueReport {
  readonly type: RecordType;
  readonly filters: JoinFilters;
  readonly epoch: number;
}

export interface JoiningConfig {
  readonly group: IpAddress;
  /** How often a change is said (RFC 3376, section 8.1); a querier may ask for more. */
  readonly robustness?: number;
  /** A number from 0 to below 1, of no use to who would guess the next. */
  readonly random: () => number;
}

/** RFC 3376, section 8.11: what is said again is said within this. */
const repeatWithinMs = 1000;
/** Not even a flood of queries has more signed: a signature costs some hundred µs. */
const answerSpacingMs = 100;
const robustnessDefault = 2;
const robustnessMax = 7;
const nothing: JoinFilters = { permit: [], prohibit: [] };

/**
 * The member's end of a group (RFC 3376, section 5): says what this replica takes on every change, again as often as messages may be lost, and whenever it is
 * asked. Each report is complete, so a later one makes up for all that were lost before; those that are due are given out by `wake`. It always speaks version 3,
 * whatever version a query has: an older report could carry neither filters nor a signature.
 */
export class Joining {
  readonly #config: Required<JoiningConfig>;
  #robustness: number;
  #said: { readonly isLeave: boolean; readonly filters: JoinFilters; readonly epoch: number } | null = null;
  #changeLeft = 0;
  #changeAtMs = Infinity;
  #answerAtMs = Infinity;
  #sentMs = -Infinity;

  constructor(config: JoiningConfig) {
    this.#config = { robustness: robustnessDefault, ...config };
    this.#robustness = this.#config.robustness;
  }

  /** When `wake` is to be called next; Infinity when there is nothing to wait for. */
  get wakeAtMs(): number {
    return Math.min(this.#changeAtMs, this.#answerAtMs);
  }

  /** True once all that is to be said of a leave was said. */
  get isOver(): boolean {
    return (this.#said?.isLeave ?? true) && this.#changeLeft === 0;
  }

  /** The share of this replica is another, or stands under another epoch; due at once. Without any filters it stays in the group and owns nothing. */
  take(filters: JoinFilters, epoch: number, nowMs: number): void {
    this.#change({ isLeave: false, filters, epoch }, nowMs);
  }

  /** This replica takes nothing any more and answers nobody; due at once. */
  leave(nowMs: number): void {
    if (!this.#said || this.#said.isLeave) return;
    this.#answerAtMs = Infinity;
    this.#change({ isLeave: true, filters: nothing, epoch: this.#said.epoch }, nowMs);
  }

  /** Answers are spread over the time the querier allows, and are as few as queries (RFC 3376, section 5.2). */
  queried(query: IgmpQuery, nowMs: number): void {
    if (query.group && !sameIp(query.group, this.#config.group)) return;
    if (query.robustness > 0)
      this.#robustness = Math.min(robustnessMax, Math.max(query.robustness, this.#config.robustness));
    if (!this.#said || this.#said.isLeave) return;
    const at = nowMs + this.#config.random() * query.maxResponseMs;
    this.#answerAtMs = Math.min(this.#answerAtMs, Math.max(at, this.#sentMs + answerSpacingMs));
  }

  /** The report that is due by now; null when none is. */
  wake(nowMs: number): DueReport | null {
    if (!this.#said || nowMs < this.wakeAtMs) return null;
    const { isLeave, filters, epoch } = this.#said;
    const isChange = nowMs >= this.#changeAtMs;
    // Whatever is due says it all.
    if (nowMs >= this.#answerAtMs) this.#answerAtMs = Infinity;
    this.#sentMs = nowMs;
    if (!isChange) return { type: 'is-exclude', filters, epoch };
    this.#changeLeft--;
    this.#changeAtMs = this.#changeLeft > 0 ? nowMs + this.#repeatAfterMs() : Infinity;
    return { type: isLeave ? 'to-include' : 'to-exclude', filters, epoch };
  }

  #change(said: { isLeave: boolean; filters: JoinFilters; epoch: number }, nowMs: number): void {
    this.#said = said;
    this.#changeLeft = this.#robustness;
    this.#changeAtMs = nowMs;
  }

  /** All repeats together take `repeatWithinMs` at most. */
  #repeatAfterMs(): number {
    return (this.#config.random() * repeatWithinMs) / Math.max(1, this.#robustness - 1);
  }
}
