/** When each of the newest own heartbeats was sent: an answer names its round, and all leases count from the sending. */
export interface Rounds {
  /** Number of the heartbeat sent last; 0 before the first. */
  readonly last: number;
  /** Takes the next number for a heartbeat sent at `at`. */
  next(at: number): number;
  /** When `round` was sent; undefined when that is too long ago to matter, or never happened. */
  sentAt(round: number): number | undefined;
  /** The newest round sent by `at`; undefined when none was, of late. */
  newestBy(at: number): number | undefined;
}

export function createRounds(keepMs: number): Rounds {
  const sent = new Map<number, number>();
  let last = 0;
  return {
    get last() {
      return last;
    },
    next(at) {
      sent.set(++last, at);
      for (const [round, sentAt] of sent) {
        if (sentAt >= at - keepMs) break;
        sent.delete(round);
      }
      return last;
    },
    sentAt: (round) => sent.get(round),
    newestBy: (at) => [...sent.keys()].findLast((round) => (sent.get(round) ?? at) <= at),
  };
}
