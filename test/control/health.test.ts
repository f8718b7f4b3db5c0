import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createHealth, type HealthView, type Tolerance } from '../../src/control/health.ts';

const tcp: Tolerance = { name: 'tcp 203.0.113.10:80', rise: 2, fall: 3 };
const http: Tolerance = { name: 'http 203.0.113.10:80/', rise: 1, fall: 1 };

/** The changes that a row of answers of one check brings, by its index in the row: `+` is good, everything else a failure. */
function changes(tolerance: Tolerance, answers: string): [number, boolean][] {
  const health = createHealth([tolerance], 0);
  return [...answers].flatMap((answer, i) => {
    const change = health.handle({ at: i, check: 0, problem: answer === '+' ? null : answer });
    return change ? [[i, change.healthy] satisfies [number, boolean]] : [];
  });
}

describe('a server with one check', () => {
  test.each([
    ['+', []],
    ['++', [[1, true]]],
    ['+-+-+-+', []],
    ['-----++', [[6, true]]],
    [
      '++---',
      [
        [1, true],
        [4, false],
      ],
    ],
    ['++--+--+--+', [[1, true]]],
    [
      '++---+++',
      [
        [1, true],
        [4, false],
        [6, true],
      ],
    ],
    [
      '++---+-+-++',
      [
        [1, true],
        [4, false],
        [10, true],
      ],
    ],
  ])('%s', (answers, expected) => {
    expect(changes(tcp, answers)).toEqual(expected);
  });

  test('follows every answer when one is enough', () => {
    expect(changes(http, '++--+')).toEqual([
      [0, true],
      [2, false],
      [4, true],
    ]);
  });
});

test('a server that nobody checks is healthy', () => {
  expect(createHealth([], 5).view()).toEqual({ healthy: true, reason: null, since: 5 });
});

test('a result of no check is a defect', () => {
  expect(() => createHealth([tcp], 0).handle({ at: 1, check: 1, problem: null })).toThrow('invariant broken');
});

test('a server with two checks is healthy while both are up, and says which is not and why', () => {
  const health = createHealth([tcp, http], 100);
  const seen: (HealthView | null)[] = [health.view()];
  const take = (at: number, check: number, problem: string | null): void =>
    void seen.push(health.handle({ at, check, problem }));
  take(200, 1, null);
  take(210, 0, 'connection refused');
  expect(health.view().reason).toBe('tcp 203.0.113.10:80: connection refused');
  take(220, 0, null);
  take(230, 0, null);
  take(300, 1, 'status 503');
  take(310, 0, 'no answer within 10 ms');
  expect(health.view().reason).toBe('http 203.0.113.10:80/: status 503');
  take(400, 1, null);
  expect(seen).toEqual([
    { healthy: false, reason: 'tcp 203.0.113.10:80: no good answer yet', since: 100 },
    null,
    null,
    null,
    { healthy: true, reason: null, since: 230 },
    { healthy: false, reason: 'http 203.0.113.10:80/: status 503', since: 300 },
    null,
    { healthy: true, reason: null, since: 400 },
  ]);
});

test('a check is what its last row of `rise` good answers or `fall` failures says, and changes no faster', () => {
  const limit = fc.integer({ min: 1, max: 4 });
  const run = fc.record({
    checks: fc.array(fc.record({ rise: limit, fall: limit }), { minLength: 1, maxLength: 3 }),
    answers: fc.array(fc.tuple(fc.nat(2), fc.boolean()), { maxLength: 80 }),
  });
  fc.assert(
    fc.property(run, ({ checks, answers }) => {
      const health = createHealth(
        checks.map((check, i) => ({ ...check, name: `check ${i}` })),
        0,
      );
      const told: boolean[][] = checks.map(() => []);
      let healthy = false;
      for (const [at, [any, good]] of answers.entries()) {
        const check = any % checks.length;
        told[check]?.push(good);
        const change = health.handle({ at, check, problem: good ? null : `failure ${at}` });
        const expected = checks.every((each, i) => isUp(each, told[i] ?? []));
        expect(health.view().healthy).toBe(expected);
        expect(health.view().reason === null).toBe(expected);
        expect(change?.healthy ?? null).toBe(expected === healthy ? null : expected);
        if (change) {
          const { rise = 0, fall = 0 } = checks[check] ?? {};
          const row = told[check]?.slice(-(change.healthy ? rise : fall)) ?? [];
          expect(row).toEqual(Array(change.healthy ? rise : fall).fill(change.healthy));
          expect(change.since).toBe(at);
        }
        healthy = expected;
      }
    }),
  );
});

/** Looks back from the newest answer for a row long enough. */
function isUp({ rise, fall }: { rise: number; fall: number }, told: readonly boolean[]): boolean {
  for (let end = told.length; end > 0; end--) {
    const endsIn = (answer: boolean, length: number): boolean =>
      end >= length && told.slice(end - length, end).every((each) => each === answer);
    if (endsIn(true, rise)) return true;
    if (endsIn(false, fall)) return false;
  }
  return false;
}
