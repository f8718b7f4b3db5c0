import type { Timeline } from './timeline.ts';

/** How often and how long a process loses the processor in the midst of a turn. */
export interface Scheduling {
  /** Chance for each turn. */
  descheduled: number;
  descheduledMsMax: number;
}

/**
 * One life of an agent's process: when it gets a turn, and when what it does there reaches the world. A process that is stopped in the midst of a turn
 * has read the clock already, and its effects come late.
 */
export class Life {
  readonly #timeline: Timeline;
  readonly #scheduling: Scheduling;
  #alive = true;
  #stopped = false;
  #stoppedUntil = 0;
  #effectsLeft = Number.POSITIVE_INFINITY;
  #planned: { readonly ms: number; readonly then: () => void } | null = null;
  readonly #inputs: (() => void)[] = [];
  readonly #effects: (() => void)[] = [];
  /** Transactions that the kernel may have done, or not, when the process dies. */
  readonly inKernel = new Set<() => void>();

  constructor(timeline: Timeline, scheduling: Scheduling) {
    this.#timeline = timeline;
    this.#scheduling = scheduling;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Gives the process something to do, as soon as it is running. */
  turn(work: () => void): void {
    if (!this.#alive) return;
    if (this.#stopped) {
      this.#inputs.push(work);
      return;
    }
    const { random } = this.#timeline;
    const { descheduled } = this.#scheduling;
    // Until its next turn: promises that go on because of this one are part of it.
    const interrupted = this.#planned !== null || (descheduled > 0 && random.chance(descheduled));
    this.#effectsLeft = interrupted ? random.below(5) : Number.POSITIVE_INFINITY;
    work();
  }

  /** What the process does to the world, in order: at once while it is running. */
  effect(work: () => void): void {
    if (!this.#alive) return;
    if (!this.#stopped && this.#effectsLeft-- <= 0) this.#lose();
    if (this.#stopped) this.#effects.push(work);
    else work();
  }

  /** Gets no turn for `ms`, as by SIGSTOP or a busy host. */
  stop(ms: number): void {
    this.#stopped = true;
    this.#stoppedUntil = Math.max(this.#stoppedUntil, this.#timeline.now + ms);
    this.#timeline.after(ms, () => {
      if (this.#timeline.now >= this.#stoppedUntil) this.wake();
    });
  }

  /** Loses the processor for `ms` in the midst of one of its next turns; `then` is called at that instant. */
  interrupt(ms: number, then: () => void): void {
    this.#planned = { ms, then };
  }

  #lose(): void {
    const planned = this.#planned;
    this.#planned = null;
    this.#effectsLeft = Number.POSITIVE_INFINITY;
    this.stop(planned?.ms ?? this.#timeline.random.between(1, this.#scheduling.descheduledMsMax));
    planned?.then();
  }

  /** Goes on, and is not interrupted unless somebody asks for it anew. */
  wake(): void {
    this.#planned = null;
    if (!this.#alive || !this.#stopped) return;
    this.#stopped = false;
    this.#stoppedUntil = 0;
    for (const effect of this.#effects.splice(0)) effect();
    for (const input of this.#inputs.splice(0)) this.turn(input);
  }

  /** What it was about to do is done or not; nothing after that is. */
  kill(): void {
    const { random } = this.#timeline;
    for (const commit of this.inKernel) if (random.chance(0.5)) commit();
    const [next] = this.#effects;
    if (next && random.chance(0.5)) next();
    this.#alive = false;
  }
}
