import { describe, expect, test } from 'vitest';
import { Joining } from '../../src/router/joining.ts';
import type { IgmpQuery } from '../../src/wire/igmp.ts';
import { group, ip, share } from './joins-under-test.ts';

const query: IgmpQuery = {
  ...{
    kind: 'query',
    version: 3,
    group: null,
    maxResponseMs: 10_000,
    suppress: false,
    robustness: 2,
    intervalMs: 0,
    sources: [],
  },
};

/** What is sent until `untilMs`, and when. */
function reportsUntil(
  joining: Joining,
  untilMs: number,
): { at: number; type: string; epoch: number; filters: object }[] {
  const reports = [];
  while (joining.wakeAtMs <= untilMs) {
    const at = joining.wakeAtMs;
    const report = joining.wake(at);
    if (report) reports.push({ at, ...report });
  }
  return reports;
}

function member(random = 0.5, robustness = 2): Joining {
  return new Joining({ group, robustness, random: () => random });
}

describe('a member', () => {
  test('says a change at once and again within a second, whole', () => {
    const joining = member();
    joining.take(share(1, 2), 7, 100);
    expect(reportsUntil(joining, 100_000)).toEqual([
      { at: 100, type: 'to-exclude', filters: share(1, 2), epoch: 7 },
      { at: 600, type: 'to-exclude', filters: share(1, 2), epoch: 7 },
    ]);
    expect(joining.wakeAtMs).toBe(Infinity);
  });

  test('says the newest when changes come one upon the other', () => {
    const joining = member();
    joining.take(share(1), 1, 0);
    reportsUntil(joining, 0);
    joining.take(share(1, 2), 2, 10);
    expect(reportsUntil(joining, 10_000).map(({ at, epoch }) => [at, epoch])).toEqual([
      [10, 2],
      [510, 2],
    ]);
  });

  test('says it as often as the querier wants, all within the second', () => {
    const joining = member(0.99);
    joining.queried({ ...query, robustness: 5 }, 0);
    joining.take(share(1), 1, 0);
    const times = reportsUntil(joining, 10_000).map(({ at }) => at);
    expect(times).toHaveLength(5);
    expect(times.at(-1)).toBeLessThanOrEqual(1000);
  });

  test('answers queries for all groups and for its own within the time they give, once', () => {
    const joining = member(0.25);
    joining.take(share(1), 3, 0);
    reportsUntil(joining, 1000);
    joining.queried(query, 2000);
    joining.queried({ ...query, group, maxResponseMs: 1000 }, 2100);
    joining.queried(query, 2200);
    expect(reportsUntil(joining, 20_000)).toEqual([{ at: 2350, type: 'is-exclude', filters: share(1), epoch: 3 }]);
    joining.queried({ ...query, group: ip('239.1.1.1') }, 30_000);
    expect(joining.wakeAtMs).toBe(Infinity);
  });

  test('signs no more than ten answers a second, however many queries ask at once', () => {
    const joining = member(0);
    joining.take(share(1), 3, 0);
    reportsUntil(joining, 0);
    let count = 0;
    for (let at = 1000; at < 2000; at++) {
      joining.queried({ ...query, maxResponseMs: 0 }, at);
      if (joining.wake(at)) count++;
    }
    expect(count).toBe(10);
  });

  test('leaves on exit, says so again, and answers nobody from then on', () => {
    const joining = member();
    joining.take(share(1), 4, 0);
    reportsUntil(joining, 5000);
    joining.queried(query, 5000);
    joining.leave(5100);
    expect(joining.isOver).toBe(false);
    joining.queried(query, 5200);
    expect(reportsUntil(joining, 100_000)).toEqual([
      { at: 5100, type: 'to-include', filters: { permit: [], prohibit: [] }, epoch: 4 },
      { at: 5600, type: 'to-include', filters: { permit: [], prohibit: [] }, epoch: 4 },
    ]);
    expect(joining.isOver).toBe(true);
    joining.take(share(2), 5, 6000);
    expect(reportsUntil(joining, 6000)).toMatchObject([{ at: 6000, type: 'to-exclude', epoch: 5 }]);
  });

  test('that never had a share says nothing', () => {
    const joining = member();
    joining.queried(query, 0);
    joining.leave(0);
    expect([joining.wakeAtMs, joining.wake(1_000_000), joining.isOver]).toEqual([Infinity, null, true]);
  });
});
