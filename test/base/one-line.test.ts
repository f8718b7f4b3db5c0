import fc from 'fast-check';
import { expect, test } from 'vitest';
import { oneLine } from '../../src/base/one-line.ts';

test.each([
  ['plain text, ünïcode too', 'plain text, ünïcode too'],
  ['two\nlines\r\n', 'two\\u000alines\\u000d\\u000a'],
  ['\u001b[31mred', '\\u001b[31mred'],
  ['\u009b31m', '\\u009b31m'],
  ['a\u2028b', 'a\\u2028b'],
  ['x'.repeat(60), 'x'.repeat(60)],
  ['x'.repeat(61), `${'x'.repeat(60)}…`],
  ['😀'.repeat(61), `${'😀'.repeat(60)}…`],
])('%j is shown as %s', (text, shown) => {
  expect(oneLine(text)).toBe(shown);
});

const anyCharacter = fc.nat(0x20ff).map((code) => String.fromCodePoint(code));

test('any text becomes one line of bounded length', () => {
  fc.assert(
    fc.property(fc.string({ unit: anyCharacter, maxLength: 40 }), fc.nat(50), (text, charactersMax) => {
      const shown = oneLine(text, charactersMax);
      expect(shown).toMatch(/^[^\p{Cc}\u2028\u2029]*$/u);
      expect([...shown].length).toBeLessThanOrEqual(charactersMax + 1);
    }),
  );
});
