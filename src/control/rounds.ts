/** When each of the newest own heartbeats was sent: an answer names its round, and all leases count from the sending. */
export interface Rounds {
  /** Number of the heartbeat sent last; that before the first one of this life when there was none. */
  readonly last: number;
  /** Takes the next number for a heartbeat sent at `at`. */
  next(at: number): number;
  /** When `round` was sent; undefined when that is too long ago to matter, or never happened. */
  sentAt(round: number): number | undefined;
  /** The newest round sent by `at`; undefined when none was, of late. */
  newestBy(at: number): number | undefined;
}

/** Rounds of one life, more than can be sent in it. */
const roundsPerLife = 2 ** 32;
const lives = 2 ** 16;

/** Numbers of another life than `session` are never among them: an answer to one of those, recorded and replayed, answers nothing. */
export function createRounds(session: number, keepMs: number): Rounds {
  /** Of the newest rounds, up to `last`. */
  const sent: number[] = [];
  let last = (session % lives) * roundsPerLife;
  const first = (): number => last - sent.length + 1;
  return {
    get last() {
      return last;
    },
    next(at) {
      last++;
      sent.push(at);
      while ((sent[0] ?? at) < at - keepMs) sent.shift();
      return last;
    },
    sentAt: (round) => sent[round - first()],
    newestBy(at) {
      const place = sent.findLastIndex((sentAt) => sentAt <= at);
      return place < 0 ? undefined : first() + place;
    },
  };
}
