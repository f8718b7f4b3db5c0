/** All times in milliseconds; names and values of RFC 3376, section 8. Routers of one link are given the same. */
export interface MembershipTimers {
  /** 8.1: how many times in a row a message may be lost. */
  readonly robustness: number;
  /** 8.2 */
  readonly queryIntervalMs: number;
  /** 8.3: within which members answer. */
  readonly queryResponseMs: number;
  /** 8.6, where it is a quarter of the query interval: a router that starts anew must not be without its members for that long when one query is lost. */
  readonly startupQueryIntervalMs: number;
  /** 8.7 */
  readonly startupQueryCount: number;
  /** Within which members answer a query of the start. */
  readonly startupResponseMs: number;
}

export const membershipTimers: MembershipTimers = {
  robustness: 2,
  queryIntervalMs: 125_000,
  queryResponseMs: 10_000,
  startupQueryIntervalMs: 1000,
  startupQueryCount: 2,
  startupResponseMs: 1000,
};

/** 8.4: a member that was not heard for this long is gone. */
export function membershipIntervalMs({ robustness, queryIntervalMs, queryResponseMs }: MembershipTimers): number {
  return robustness * queryIntervalMs + queryResponseMs;
}

/** 8.5: a querier that was not heard for this long is gone. */
export function otherQuerierPresentMs({ robustness, queryIntervalMs, queryResponseMs }: MembershipTimers): number {
  return robustness * queryIntervalMs + queryResponseMs / 2;
}
