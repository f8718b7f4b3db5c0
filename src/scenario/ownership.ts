import type { Lapse } from './lapses.ts';
import type { TableRecord } from './records.ts';

/** Clocks of the capture (kernel) and of the agents (monotonic plus a start) differ by less than this. */
const slackMs = 5;

/** A time in which a kernel accepted exactly some slots. */
export interface Span {
  /** When it may have begun to. */
  readonly begin: number;
  /** From when on it certainly did. */
  readonly certain: number;
  /** When it may have ceased to, at the latest; Infinity for not yet. */
  readonly until: number;
  readonly slots: ReadonlySet<number>;
}

/** What every kernel accepted when, from what the agents told. */
export interface Ownership {
  /** Whether a replica's kernel may have accepted a slot at an instant, or at any from `at` to `until`, given what is known about when it was programmed. */
  accepted(replica: string, slot: number, at: number, until?: number): boolean;
  /** The replica whose kernel accepted a slot, by the end of its last transaction before `at`; null for nobody. */
  ownerAt(slot: number, at: number): string | null;
  /** When a replica other than `former` first accepted a slot after `at`; null when none did. */
  takenOver(slot: number, former: string, at: number): number | null;
  /** When a replica's tables were in force, oldest first. */
  spansOf(replica: string): readonly Span[];
}

export function ownershipFrom(tables: readonly TableRecord[], lapses: readonly Lapse[] = []): Ownership {
  const byReplica = new Map<string, TableRecord[]>();
  for (const table of [...tables].sort((a, b) => a.end - b.end)) {
    byReplica.set(table.replica, [...(byReplica.get(table.replica) ?? []), table]);
  }
  const takenOver = (slot: number, former: string, at: number): number | null => {
    const taken = tables.filter(({ replica, end, slots }) => replica !== former && end > at && slots.has(slot));
    return taken.length > 0 ? Math.min(...taken.map(({ end }) => end)) : null;
  };
  const spans = new Map<string, Span[]>();
  for (const [replica, list] of byReplica) {
    const own = lapses.filter((lapse) => lapse.replica === replica);
    const whole = list.map(({ begin, end, slots }, i) => {
      return { begin, certain: end, until: list[i + 1]?.end ?? Number.POSITIVE_INFINITY, slots };
    });
    const stillHeld = (slot: number, { from, until }: Lapse): boolean =>
      (takenOver(slot, replica, from) ?? Number.POSITIVE_INFINITY) > until;
    spans.set(
      replica,
      own.reduce((all: Span[], lapse) => all.flatMap((span) => without(span, lapse, stillHeld)), whole),
    );
  }
  return {
    accepted(replica: string, slot: number, at: number, until = at): boolean {
      return (spans.get(replica) ?? []).some(
        (span) => span.slots.has(slot) && until >= span.begin - slackMs && at <= span.until + slackMs,
      );
    },
    ownerAt(slot: number, at: number): string | null {
      for (const [replica, list] of spans) {
        const newest = list.filter(({ certain }) => certain <= at).at(-1);
        if (newest && at <= newest.until && newest.slots.has(slot)) return replica;
      }
      return null;
    },
    takenOver,
    spansOf: (replica) => spans.get(replica) ?? [],
  };
}

/** What a lapse leaves of a span. A table that was in force before it is in force again after it, but for the slots that others took meanwhile. */
function without(span: Span, lapse: Lapse, stillHeld: (slot: number, lapse: Lapse) => boolean): Span[] {
  const { from, until } = lapse;
  if (span.until <= from || span.begin >= until) return [span];
  const before: Span[] = span.begin < from ? [{ ...span, until: from }] : [];
  if (span.until <= until) return before;
  const slots = new Set([...span.slots].filter((slot) => stillHeld(slot, lapse)));
  return [...before, { begin: until, certain: Math.max(until, span.certain), until: span.until, slots }];
}
