import { expect, test } from 'vitest';
import { createMembership, type Membership } from '../../src/control/membership.ts';
import { defaultTimers } from '../../src/control/timers.ts';
import type { Heartbeat } from '../../src/wire/control-message.ts';
import { noVersion } from '../../src/wire/ledger.ts';

const { heartbeatMs, silenceMs, stableMs, stableMsMax, forgivenMs } = defaultTimers;

const heartbeat = (round: number): Heartbeat => ({
  ...{ round, term: 1, follow: null, coordinating: false, leaving: false, heard: [], programmed: 0, routed: 0 },
  ...{ held: noVersion, committed: noVersion, basis: noVersion, incarnation: 1, witness: false, boot: 1 },
  ...{ mac: '02:00:00:00:00:01', healthy: true },
});

/** Hears `b` from `from` for `ms` without a gap; when it was stable first, counted from there. */
function hearFor(membership: Membership, from: number, ms: number): number | null {
  let stableAfter: number | null = null;
  for (let at = from; at <= from + ms; at += heartbeatMs) {
    membership.hear('b', 1, heartbeat(at), 'multicast', at);
    if (stableAfter === null && membership.stable('b', at)) stableAfter = at - from;
  }
  return stableAfter;
}

test('a peer that is lost again and again gets a share later each time, up to a bound, until it is forgiven', () => {
  const membership = createMembership('a', ['a', 'b'], defaultTimers, 0);
  const run = stableMsMax + heartbeatMs;
  const pause = silenceMs + 2 * heartbeatMs;
  let at = 0;
  const waits = Array.from({ length: 6 }, () => {
    const waited = hearFor(membership, at, run);
    at += run + pause;
    return waited;
  });
  expect(waits).toEqual([1, 2, 4, 8, 8, 8].map((times) => times * stableMs));
  hearFor(membership, at, forgivenMs + heartbeatMs);
  at += forgivenMs + heartbeatMs + pause;
  expect(hearFor(membership, at, run)).toBe(stableMs);
});
