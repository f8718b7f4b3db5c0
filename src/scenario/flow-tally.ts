import type { FlowBegun } from './records.ts';

/** The datagrams of a flow and what came of them. Times are Unix milliseconds. */
export class FlowTally {
  readonly #timeoutMs: number;
  /** When each datagram was sent that is not answered yet. */
  readonly #unanswered = new Map<number, number>();
  /** Those that were given up: what comes late is lost, and not wrong. */
  readonly #lost = new Set<number>();
  #next = 0;
  #firstSentAt = 0;
  /** Who answered last. */
  #replica: string | null = null;
  #counts = noCounts();

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Answers may still come. */
  get isWaiting(): boolean {
    return this.#unanswered.size > 0;
  }

  /** The datagram that is sent now. */
  next(now: number): string {
    if (this.#next === 0) this.#firstSentAt = now;
    this.#unanswered.set(this.#next, now);
    this.#counts.sent++;
    return `${this.#next++}`;
  }

  /** By the server: the name of its replica, the number of the datagram, and which of the flow's it was for the server. */
  answered(answer: string, now: number): void {
    const [replica = '', number = '', count] = answer.split(' ');
    const isExpected = this.#unanswered.delete(Number(number)) || this.#lost.delete(Number(number));
    const counts = this.#counts;
    if (!/^\d+$/.test(number) || !isExpected) counts.wrong++;
    if (this.#replica !== null) {
      if (this.#replica !== replica) counts.moved++;
      if (count === '1') counts.forgotten++;
    } else if (isExpected) {
      counts.begun.push({ sentAt: this.#firstSentAt, answeredAt: now, replica });
    }
    this.#replica = replica;
  }

  /** What was counted since the last time. */
  takeCounts(now: number): Counts {
    for (const [number, at] of this.#unanswered) {
      if (now - at < this.#timeoutMs) break;
      this.#unanswered.delete(number);
      this.#lost.add(number);
      this.#counts.lost++;
    }
    const counts = this.#counts;
    this.#counts = noCounts();
    return counts;
  }
}

/** Of a while. */
interface Counts {
  sent: number;
  lost: number;
  wrong: number;
  moved: number;
  forgotten: number;
  readonly begun: FlowBegun[];
}

function noCounts(): Counts {
  return { sent: 0, lost: 0, wrong: 0, moved: 0, forgotten: 0, begun: [] };
}
