import { type AddressInfo, createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { type ScheduledCheck, watchHealth } from '../../src/agent/health.ts';
import { monotonicClock } from '../../src/platform/monotonic-clock.ts';
import type { Clock } from '../../src/ports/clock.ts';

function check(more: Partial<ScheduledCheck> = {}): ScheduledCheck {
  const common = { address: '127.0.0.1', port: 80, timeoutMs: 1000, intervalMs: 500, rise: 2, fall: 3, name: 'tcp' };
  return { ...common, kind: 'tcp', ...more } as ScheduledCheck;
}

/** A clock that goes when it is told to. */
function standingClock(): Clock & { goTo(at: number): Promise<void> } {
  let now = 0;
  const wakes = new Set<{ at: number; callback: () => void }>();
  return {
    now: () => now,
    wakeAt(at, callback) {
      const wake = { at, callback };
      wakes.add(wake);
      return () => wakes.delete(wake);
    },
    async goTo(at) {
      await settled();
      for (;;) {
        const [next] = [...wakes].filter((wake) => wake.at <= at).sort((a, b) => a.at - b.at);
        if (!next) break;
        wakes.delete(next);
        now = Math.max(now, next.at);
        next.callback();
        await settled();
      }
      now = at;
    },
  };
}

/** When every promise that can go on has gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('the health of the local server', () => {
  test('is good without checks', () => {
    const watch = watchHealth({ checks: [], clock: standingClock(), onChange: () => {} });
    expect(watch.view()).toEqual({ healthy: true, reason: null, since: 0 });
    watch.stop();
  });

  test('changes after `rise` good answers and `fall` failures, one check each interval', async () => {
    const clock = standingClock();
    let problem: string | null = null;
    const begun: number[] = [];
    const changes: [number, boolean, string | null][] = [];
    const watch = watchHealth({
      checks: [check()],
      clock,
      onChange: (healthy, reason) => changes.push([clock.now(), healthy, reason]),
      run: async () => {
        begun.push(clock.now());
        return problem;
      },
    });
    expect(watch.view()).toEqual({ healthy: false, reason: 'tcp: no good answer yet', since: 0 });
    await clock.goTo(1200);
    problem = 'connection refused';
    await clock.goTo(2600);
    expect(begun).toEqual([0, 500, 1000, 1500, 2000, 2500]);
    expect(changes).toEqual([
      [500, true, null],
      [2500, false, 'tcp: connection refused'],
    ]);
    expect(watch.view()).toEqual({ healthy: false, reason: 'tcp: connection refused', since: 2500 });
    watch.stop();
  });

  test('is asked by each check on its own interval, by none again before it has ended', async () => {
    const clock = standingClock();
    const begun: [string, number][] = [];
    let answer = (): void => {};
    const watch = watchHealth({
      checks: [check({ intervalMs: 500 }), check({ kind: 'http', intervalMs: 1000 } as Partial<ScheduledCheck>)],
      clock,
      onChange: () => {},
      run: ({ kind }) => {
        begun.push([kind, clock.now()]);
        return kind === 'http' ? Promise.resolve(null) : new Promise((resolve) => (answer = () => resolve(null)));
      },
    });
    await clock.goTo(1700);
    const http = [
      ['http', 0],
      ['http', 1000],
    ];
    expect(begun).toEqual([['tcp', 0], ...http]);
    answer();
    await clock.goTo(1800);
    expect(begun).toEqual([['tcp', 0], ...http, ['tcp', 1700]]);
    watch.stop();
  });

  test('is asked nothing more and says nothing more when it is stopped', async () => {
    const clock = standingClock();
    let asked = 0;
    let aborted = false;
    let changes = 0;
    const watch = watchHealth({
      checks: [check({ rise: 1 })],
      clock,
      onChange: () => {
        changes += 1;
      },
      run: (_check, signal) => {
        asked += 1;
        return new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            aborted = true;
            resolve(null);
          });
        });
      },
    });
    watch.stop();
    await clock.goTo(5000);
    expect({ asked, aborted, changes }).toEqual({ asked: 1, aborted: true, changes: 0 });
  });

  test('of a real server is good once it listens, and no longer when it has gone', async () => {
    const server = createServer((socket) => socket.on('error', () => {}).resume());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const changes: [boolean, string | null][] = [];
    let changed = (): void => {};
    const next = (): Promise<void> => new Promise((resolve) => (changed = resolve));
    const good = next();
    const watch = watchHealth({
      checks: [check({ port, intervalMs: 50 })],
      clock: monotonicClock,
      onChange: (healthy, reason) => {
        changes.push([healthy, reason]);
        changed();
      },
    });
    await good;
    const bad = next();
    server.close();
    await bad;
    watch.stop();
    expect(changes).toEqual([
      [true, null],
      [false, 'tcp: connection refused'],
    ]);
  });
});
