import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';
import { askedFlowsMax, encodeMessage } from '../wire/control-message.ts';
import type { Timers } from './timers.ts';

/** Flows that are asked about at a time. */
const askedMax = 1024;
/** Flows of others that are looked for in a second, each some µs of the kernel. */
const soughtMax = 2000;

interface Asked {
  readonly flow: TcpFlow;
  /** What tells the client that nobody has it: the newest. */
  reset: Uint8Array;
  /** Nobody has it when nobody has said so by then. */
  readonly until: number;
  askAt: number;
}

/**
 * What this host asks the others, and how much it lets itself be asked. A segment of a connection that is in no list of this host's may be of another's whom the
 * ledger does not know of (WO 99/30460, figures 14 and 15); the reset that says that nobody has it waits for their answer.
 */
export class Questions {
  readonly #timers: Timers;
  readonly #asked = new Map<string, Asked>();
  #sentAt = Number.NEGATIVE_INFINITY;
  #sought = { since: Number.NEGATIVE_INFINITY, flows: 0 };

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** False when too much is asked already: the reset may leave. */
  ask(flow: TcpFlow, reset: Uint8Array, now: number): boolean {
    const key = flowKey(flow);
    const already = this.#asked.get(key);
    if (already) already.reset = reset;
    else if (this.#asked.size >= askedMax) return false;
    else this.#asked.set(key, { flow, reset, until: now + this.#timers.askMs, askAt: now });
    return true;
  }

  /** Somebody has these. */
  answered(flows: readonly TcpFlow[]): void {
    for (const flow of flows) this.#asked.delete(flowKey(flow));
  }

  /** The resets of those that nobody has. */
  takeUnanswered(now: number): Uint8Array[] {
    const resets: Uint8Array[] = [];
    for (const [key, { reset, until }] of this.#asked) {
      // Those asked about first are over first.
      if (now < until) break;
      this.#asked.delete(key);
      resets.push(reset);
    }
    return resets;
  }

  /** The bodies for everybody; not before they are due. */
  toSend(now: number): Uint8Array[] {
    if (this.#asked.size === 0 || now < this.#sentAt + this.#timers.gatherFlowsMs) return [];
    const due = [...this.#asked.values()].filter(({ askAt }) => askAt <= now);
    if (due.length > 0) this.#sentAt = now;
    for (const each of due) each.askAt = now + this.#timers.askAgainMs;
    const flows = due.map(({ flow }) => flow);
    return Array.from({ length: Math.ceil(flows.length / askedFlowsMax) }, (_, i) =>
      encodeMessage({ kind: 'question', flows: flows.slice(i * askedFlowsMax, (i + 1) * askedFlowsMax) }),
    );
  }

  /** When `toSend` or `takeUnanswered` has something. */
  nextAt(): number {
    let at = Number.POSITIVE_INFINITY;
    if (this.#asked.size === 0) return at;
    const sendAt = this.#sentAt + this.#timers.gatherFlowsMs;
    for (const { until, askAt } of this.#asked.values()) at = Math.min(at, until, Math.max(askAt, sendAt));
    return at;
  }

  /** Whether this host looks for as many more flows of others. */
  maySeek(flows: number, now: number): boolean {
    if (now >= this.#sought.since + 1000) this.#sought = { since: now, flows: 0 };
    this.#sought.flows += flows;
    return this.#sought.flows <= soughtMax;
  }
}
