import { describe, expect, test } from 'vitest';
import { createPatternCheck, patternAt } from '../../src/lab/byte-pattern.ts';
import { countsOf, trailerOf } from '../../src/lab/stream-protocol.ts';

/** The bytes of a stream from 0 to `length`. */
function stream(length: number): Buffer {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < length; at += 1000) parts.push(patternAt(at, Math.min(1000, length - at)));
  return Buffer.concat(parts);
}

function checked(bytes: Uint8Array, chunk = bytes.length): { received: number; wrong: number } {
  const check = createPatternCheck();
  for (let at = 0; at < bytes.length; at += chunk) check.take(bytes.subarray(at, at + chunk));
  return { received: check.received, wrong: check.wrong };
}

describe('a stream of the pattern', () => {
  const whole = stream(300_000);

  test.each([1, 7, 1448, 65_536, 300_000])('that is whole has no wrong byte, in chunks of %i', (chunk) => {
    expect(checked(whole, chunk)).toEqual({ received: 300_000, wrong: 0 });
  });

  test.each([
    [1, 100_000],
    [1448, 65_000],
    [20_000, 5],
  ])('that misses %i bytes has as many wrong ones, and no more', (missing, at) => {
    const holed = Buffer.concat([whole.subarray(0, at), whole.subarray(at + missing)]);
    expect(checked(holed)).toEqual({ received: 300_000 - missing, wrong: missing });
  });

  test.each([
    [1, 100_000],
    [1448, 65_000],
    [20_000, 40_000],
  ])('that has %i bytes twice has as many wrong ones, and no more', (twice, at) => {
    const doubled = Buffer.concat([whole.subarray(0, at + twice), whole.subarray(at)]);
    expect(checked(doubled)).toEqual({ received: 300_000 + twice, wrong: twice });
  });

  test('with one byte changed has one wrong byte', () => {
    const changed = Buffer.from(whole);
    changed[123_456] = (changed[123_456] ?? 0) ^ 1;
    expect(checked(changed)).toEqual({ received: 300_000, wrong: 1 });
  });

  test('of another kind altogether is all wrong', () => {
    expect(checked(Buffer.alloc(100, 'x')).wrong).toBeGreaterThan(90);
  });
});

test('the counts of a server are read as they were told', () => {
  const counts = { sent: 2 ** 40, received: 7, wrong: 0 };
  expect(countsOf(trailerOf(counts))).toEqual(counts);
});
