import { EventQueue, type Scheduled } from './event-queue.ts';
import { createRandom, type Random } from './random.ts';
import { Trace } from './trace.ts';

/** The first promise of the system that a run broke. */
export interface Violation {
  readonly invariant: string;
  readonly what: string;
  /** True virtual time, milliseconds. */
  readonly at: number;
}

/** Lets every promise go on that can. */
export type Settle = () => Promise<void>;

/** True time, which nobody in the simulated world can read, and what happens in it. */
export class Timeline {
  now = 0;
  readonly random: Random;
  readonly trace: Trace;
  violation: Violation | null = null;
  /** Events that have happened. */
  steps = 0;
  readonly #queue = new EventQueue();
  readonly #settle: Settle;
  #onError: (error: unknown) => void = (error) => {
    throw error;
  };
  #unsettled = false;

  constructor(seed: number, settle: Settle, keepsLines = false) {
    this.random = createRandom(seed);
    this.#settle = settle;
    this.trace = new Trace(keepsLines);
  }

  /** What becomes of errors that events throw; without it they end the run. */
  catch(onError: (error: unknown) => void): void {
    this.#onError = onError;
  }

  after(ms: number, run: () => void): Scheduled {
    return this.#queue.add(this.now + ms, run);
  }

  /** Promises may be pending: they go on before the next event. To be called wherever one is made or resolved. */
  unsettle(): void {
    this.#unsettled = true;
  }

  say(text: string): void {
    this.trace.line(this.now, text);
  }

  /** The run ends with the first one. */
  violate(invariant: string, what: string): void {
    if (this.violation !== null) return;
    this.violation = { invariant, what, at: this.now };
    this.say(`VIOLATION of "${invariant}": ${what}`);
  }

  /** False when a violation ended it. */
  async run(ms: number): Promise<boolean> {
    const end = this.now + ms;
    if (this.#unsettled) await this.#settleNow();
    while (this.violation === null) {
      const next = this.#queue.take(end);
      if (next === null) {
        this.now = end;
        return true;
      }
      this.now = next.at;
      this.steps++;
      const { run } = next;
      next.run = null;
      try {
        run?.();
      } catch (error) {
        this.#onError(error);
      }
      if (this.#unsettled) await this.#settleNow();
    }
    return false;
  }

  async #settleNow(): Promise<void> {
    await this.#settle();
    this.#unsettled = false;
  }
}
