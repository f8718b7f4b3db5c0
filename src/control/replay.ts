/** Lets each datagram of each sender through once, somewhat out of order too, and none of an earlier session (RFC 4303, section 3.4.3). */
export interface ReplayGuard {
  /** Null when the datagram is new; otherwise why not. */
  refusal(sender: string, session: number, counter: number): 'old session' | 'replayed' | null;
  /** The same, and a datagram that is new stays so: whether it is genuine is still to be found out. */
  peek(sender: string, session: number, counter: number): 'old session' | 'replayed' | null;
}

/** A datagram overtaken by this many others is taken for a replay. */
const window = 256;

interface Seen {
  readonly session: number;
  newest: number;
  /** The counter seen last at each remainder of the window. */
  readonly counters: number[];
}

export function createReplayGuard(): ReplayGuard {
  const senders = new Map<string, Seen>();
  const peek: ReplayGuard['peek'] = (sender, session, counter) => {
    const seen = senders.get(sender);
    if (!seen || session > seen.session) return null;
    if (session < seen.session) return 'old session';
    return counter <= seen.newest - window || seen.counters[counter % window] === counter ? 'replayed' : null;
  };
  return {
    peek,
    refusal(sender, session, counter) {
      const reason = peek(sender, session, counter);
      if (reason !== null) return reason;
      let seen = senders.get(sender);
      if (!seen || session > seen.session) {
        seen = { session, newest: counter, counters: Array<number>(window).fill(-1) };
        senders.set(sender, seen);
      }
      seen.counters[counter % window] = counter;
      seen.newest = Math.max(seen.newest, counter);
      return null;
    },
  };
}
