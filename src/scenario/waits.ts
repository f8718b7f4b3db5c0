import { unixMsOf } from '../platform/monotonic-clock.ts';
import type { WaitRecord } from './records.ts';

/** How often the longest wait of each session is told. */
const whileMs = 500;

/** The wait of one connection of a session for what is to come next. */
export interface Wait {
  /** It waits from now on; what it waited for until now has come. */
  begin(): void;
  /** What it waited for has come, and it waits for nothing. */
  over(): void;
  /** The connection is lost, and its wait with it. */
  lost(): void;
}

export interface Waits {
  of(session: string, client: string): Wait;
  /** Tells what there is, and no more. */
  close(): void;
}

/** Tells the longest wait of each session that is open, a while at a time; one that lasts is told as long as it is so far. */
export function createWaits(say: (record: WaitRecord) => void): Waits {
  const tellers = new Set<() => void>();
  const timer = setInterval(() => {
    for (const tell of tellers) tell();
  }, whileMs);
  return {
    of(session, client): Wait {
      let since: number | null = null;
      let longest = { ms: -1, at: 0 };
      const note = (): void => {
        if (since === null) return;
        const at = performance.now();
        if (at - since > longest.ms) longest = { ms: at - since, at };
      };
      const tell = (): void => {
        note();
        if (longest.ms >= 0) say({ kind: 'wait', at: unixMsOf(longest.at), session, client, waitMs: longest.ms });
        longest = { ms: -1, at: 0 };
      };
      tellers.add(tell);
      return {
        begin(): void {
          note();
          since = performance.now();
        },
        over(): void {
          note();
          since = null;
        },
        lost(): void {
          tell();
          tellers.delete(tell);
        },
      };
    },
    close(): void {
      clearInterval(timer);
      for (const tell of tellers) tell();
      tellers.clear();
    },
  };
}
