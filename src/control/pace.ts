import type { Parts } from './parts.ts';

/**
 * When the next heartbeat is due while there is no news. A coordinator sends one every `heartbeatMs`, and sooner when somebody has not answered the last: the answer, or what it answers, was lost. Its followers
 * answer each, so that they wake once for it and for their own; they send unasked only when none comes.
 */
export class Pace {
  readonly #parts: Pick<Parts, 'following' | 'membership' | 'timers'>;
  #round = 0;
  #sentAt = Number.NEGATIVE_INFINITY;
  #owesAnswer = false;
  /** The last heartbeat was sent because somebody had not answered the one before. */
  #askedAgain = false;

  constructor(parts: Pick<Parts, 'following' | 'membership' | 'timers'>) {
    this.#parts = parts;
  }

  /** A heartbeat of `sender` was taken in. */
  heard(sender: string): void {
    const { following } = this.#parts;
    this.#owesAnswer ||= following.name === sender && following.coordinatorHeartbeat() !== null;
  }

  /** Heartbeat `round` is sent; returns who has not answered the coordinator's last one in time. */
  sent(round: number, now: number): readonly string[] {
    const { following, timers } = this.#parts;
    const overdue = following.hasAuthority(now) && now >= this.#sentAt + timers.hurriedMs ? this.#lacking(now) : [];
    this.#askedAgain = overdue.length > 0;
    this.#round = round;
    this.#sentAt = now;
    this.#owesAnswer = false;
    return overdue;
  }

  isDue(now: number): boolean {
    return now >= this.dueAt(now);
  }

  dueAt(now: number): number {
    // News that came a moment ago was answered with own news already.
    const { hurriedMs } = this.#parts.timers;
    return this.#sentAt + (this.#owesAnswer ? hurriedMs / 2 : this.#unaskedMs(now));
  }

  #unaskedMs(now: number): number {
    const { following, timers } = this.#parts;
    const { heartbeatMs, hurriedMs } = timers;
    // An answer that came late is worth a heartbeat at once: a lease is renewed only by the next.
    if (following.hasAuthority(now)) return this.#askedAgain || this.#lacking(now).length > 0 ? hurriedMs : heartbeatMs;
    const patienceMs = heartbeatMs + hurriedMs;
    const isLed = following.coordinatorHeartbeat() !== null && following.silentMs(now) < patienceMs;
    return isLed ? patienceMs : hurriedMs;
  }

  #lacking(now: number): readonly string[] {
    return this.#parts.membership.lacking(this.#round, now);
  }
}
