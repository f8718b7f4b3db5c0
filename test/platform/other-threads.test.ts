import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const host = fileURLToPath(new URL('other-threads-host.mjs', import.meta.url));

interface Seen {
  readonly said: string;
  readonly before: readonly number[];
  readonly raised: number;
  readonly after: readonly number[];
}

function seen(...argv: string[]): Seen {
  return JSON.parse(execFileSync(process.execPath, [host, ...argv], { encoding: 'utf8' })) as Seen;
}

test('threads of a process that is not in real time stay as they are', () => {
  const { before, raised, after } = seen();
  expect(raised).toBe(0);
  expect(after).toEqual(before);
});

test('where the main thread is in real time, all others are then too', ({ skip }) => {
  const { said, before, raised, after } = seen('raise');
  if (said !== 'real-time') return skip();
  const roundRobin = 2;
  expect(before.filter((policy) => policy === roundRobin)).toHaveLength(1);
  expect(raised).toBe(before.length - 1);
  expect(new Set(after)).toEqual(new Set([roundRobin]));
});
