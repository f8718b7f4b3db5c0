/** Time that never steps back. */
export interface Clock {
  /** Monotonic milliseconds, fractions allowed, from an arbitrary origin. */
  now(): number;
  /** Calls back once at or after `at`; the returned function cancels. */
  wakeAt(at: number, callback: () => void): () => void;
}
