import { type RefusalReason, refusalReasons } from '../router/join-checks.ts';
import type { Measures } from './measures.ts';

/** What the routers of a run said of themselves; nothing where there is none. */
export interface RoutingRecord {
  /** Joins that did not count since the clients began, by reason: of all routers, through all lives of their daemons. */
  readonly refused: Readonly<Partial<Record<RefusalReason, number>>>;
  /** Joins that impostors sent. */
  readonly impostorJoins: number;
  /** Slots, of all routers, that went to somebody else after an impostor's joins were judged than before. */
  readonly slotsTaken: number;
  /** Slots, of all routers that answer, that went to another replica than the agents said when the timeline ended. */
  readonly slotsAstray: number;
  /** The most connections at one time that went to another replica than the owner of their slot, of one router. */
  readonly tagsMost: number;
  /** Those that still did when the timeline ended, of all routers. */
  readonly tagsLeft: number;
}

export const noRouting: RoutingRecord = {
  ...{ refused: {}, impostorJoins: 0, slotsTaken: 0, slotsAstray: 0, tagsMost: 0, tagsLeft: 0 },
};

type RoutingMeasure = Extract<keyof Measures, `joins.${string}` | `routers.${string}`>;

export function routingMeasures(routing: RoutingRecord): Pick<Measures, RoutingMeasure> {
  const refused = Object.fromEntries(
    refusalReasons.map((reason) => [`joins.refused.${reason}` as const, routing.refused[reason] ?? 0]),
  ) as Record<`joins.refused.${RefusalReason}`, number>;
  return {
    ...refused,
    'joins.refused': Object.values(refused).reduce((sum, each) => sum + each, 0),
    'joins.ofImpostors': routing.impostorJoins,
    'routers.slotsTaken': routing.slotsTaken,
    'routers.slotsAstray': routing.slotsAstray,
    'routers.tagsMost': routing.tagsMost,
    'routers.tagsLeft': routing.tagsLeft,
  };
}
