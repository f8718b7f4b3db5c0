import type { TableRecord } from './records.ts';

/** Clocks of the capture (kernel) and of the agents (monotonic plus a start) differ by less than this. */
const slackMs = 5;

/** What every kernel accepted when, from what the agents told. */
export interface Ownership {
  /** Whether a replica's kernel may have accepted a slot at an instant, given what is known about when it was programmed. */
  accepted(replica: string, slot: number, at: number): boolean;
  /** The replica whose kernel accepted a slot, by the end of its last transaction before `at`; null for nobody. */
  ownerAt(slot: number, at: number): string | null;
  /** When a replica other than `former` first accepted a slot after `at`; null when none did. */
  takenOver(slot: number, former: string, at: number): number | null;
  /** How each replica's table followed on the other, oldest first. */
  tablesOf(replica: string): readonly TableRecord[];
}

export function ownershipFrom(tables: readonly TableRecord[]): Ownership {
  const byReplica = new Map<string, TableRecord[]>();
  for (const table of [...tables].sort((a, b) => a.end - b.end)) {
    byReplica.set(table.replica, [...(byReplica.get(table.replica) ?? []), table]);
  }
  return {
    accepted(replica: string, slot: number, at: number): boolean {
      const list = byReplica.get(replica) ?? [];
      return list.some((table, i) => {
        const next = list[i + 1];
        return table.slots.has(slot) && at >= table.begin - slackMs && (!next || at <= next.end + slackMs);
      });
    },
    ownerAt(slot: number, at: number): string | null {
      for (const [replica, list] of byReplica) {
        if (
          list
            .filter((table) => table.end <= at)
            .at(-1)
            ?.slots.has(slot)
        )
          return replica;
      }
      return null;
    },
    takenOver(slot: number, former: string, at: number): number | null {
      const taken = tables.filter(({ replica, end, slots }) => replica !== former && end > at && slots.has(slot));
      return taken.length > 0 ? Math.min(...taken.map(({ end }) => end)) : null;
    },
    tablesOf: (replica) => byReplica.get(replica) ?? [],
  };
}
