import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalPolicy, parsePolicy } from '../../src/policy/index.ts';

function refusal(text: string): string {
  const parsed = parsePolicy(text, 256);
  return parsed.ok ? 'good' : parsed.reason;
}

describe('a policy file', () => {
  test.each([
    ['strategy: equal', { strategy: 'equal', handoff: 'forward', drainDeadline: 3600 }],
    [
      '{ strategy: weighted, weights: { r1: 50, r2: 0 } }',
      { strategy: 'weighted', weights: { r1: 50, r2: 0 }, handoff: 'forward', drainDeadline: 3600 },
    ],
    [
      'strategy: explicit\nshares: { r1: "0-63,128", r2: "" }',
      { strategy: 'explicit', shares: { r1: '0-63,128', r2: '' }, handoff: 'forward', drainDeadline: 3600 },
    ],
  ])('%s', (text, policy) => {
    expect(parsePolicy(text, 256)).toEqual({ ok: true, value: policy });
  });

  test.each([
    ['', 'empty, allowed is fields with values'],
    ['strategy: even', 'strategy: "even" is not allowed, allowed are equal, weighted, explicit'],
    ['strategy: equal\nhandof: reset', 'handof: unknown field, allowed are strategy, handoff, drainDeadline'],
    ['strategy: equal\ndrainDeadline: 0', 'drainDeadline: 0 is not allowed, allowed is at least 1'],
    ['strategy: equal\ndrainDeadline: 90000', 'drainDeadline: 90000 is not allowed, allowed is at most 86400'],
    ['strategy: equal\nhandoff: gentle', 'handoff: "gentle" is not allowed, allowed are forward, reset, transfer, tag'],
    ['strategy: weighted', 'weights: missing, allowed is names with values'],
    ['strategy: weighted\nweights: { r1: -1 }', 'weights.r1: -1 is not allowed, allowed is at least 0'],
    ['strategy: weighted\nweights: { r1: 1001 }', 'weights.r1: 1001 is not allowed, allowed is at most 1000'],
    [
      'strategy: weighted\nweights: { R1: 1 }',
      'weights: the name "R1" is not allowed, allowed is a name of lower-case letters, digits and "-", at most 32',
    ],
    ['strategy: explicit\nshares: { r1: 60 }', 'shares.r1: 60 is not allowed, allowed is text such as "0-63,128"'],
    ['strategy: weighted\nweights: { r1: .nan }', 'weights.r1: NaN is not allowed, allowed is a number'],
    ['strategy: explicit\nshares: { r1: 0-63, r2: "60" }', 'shares.r2: slot 60 is given to r1 already'],
    ['strategy: explicit\nshares: { r1: 0-300 }', 'shares.r1: slot 300 does not exist, allowed are 0 to 255'],
    ['strategy: explicit\nshares: { r1: most }', 'shares.r1: "most" is not a slot or a range of slots such as "0-63"'],
    [
      'strategy: [',
      'not YAML: Flow sequence in block collection must be sufficiently indented and end with a ] at line 1, column 12',
    ],
    [
      'strategy: equal\n"two\\nlines": 1',
      'two\\u000alines: unknown field, allowed are strategy, handoff, drainDeadline',
    ],
    [
      'strategy: explicit\nshares: { r1: "1\\n2" }',
      'shares.r1: "1\\u000a2" is not a slot or a range of slots such as "0-63"',
    ],
    [
      `strategy: explicit\nshares: { r1: ${'x'.repeat(60_000)} }`,
      `shares.r1: "${'x'.repeat(60)}…" is not a slot or a range of slots such as "0-63"`,
    ],
    [
      'strategy: equal\nhandoff: &a [*a]',
      'handoff: a value within itself is not allowed, allowed are forward, reset, transfer, tag',
    ],
    ['&a [*a]', 'a value within itself is not allowed, allowed is fields with values'],
    ['strategy: weighted\nweights: { r1: 0.5 }', 'weights.r1: 0.5 is not allowed, allowed is a whole number'],
    ['strategy: weighted\nweights: { r1: 1, r1: 2 }', 'not YAML: Map keys must be unique at line 2, column 19'],
    ['strategy: weighted\nweights: { 1: 1, "1": 2 }', 'not YAML: Map keys must be unique at line 2, column 18'],
    [
      'strategy: weighted\nweights: { [r1]: 1 }',
      'not YAML: With stringKeys, all keys must be strings at line 2, column 12',
    ],
    ['strategy: equal\n---\nstrategy: equal', 'more than one YAML document, which "---" begins; allowed is one'],
    [
      `strategy: *${'x'.repeat(1000)}`,
      `not YAML: Unresolved alias (the anchor must be set before the alias): ${'x'.repeat(100)}…`,
    ],
    ['strategy: equal\nstrategy: equal', 'not YAML: Map keys must be unique at line 2, column 1'],
    [
      'a: [',
      'not YAML: Flow sequence in block collection must be sufficiently indented and end with a ] at line 1, column 5',
    ],
    [`strategy: equal # ${'x'.repeat(65_536)}`, 'longer than 65536 bytes'],
  ])('is refused in one line: %#', (text, line) => {
    expect(refusal(text)).toBe(line);
  });

  test('may be as long as the limit, in bytes', () => {
    const comment = 'é'.repeat(32_759);
    expect(refusal(`strategy: equal #${comment} `)).toBe('good');
    expect(refusal(`strategy: equal #${comment}  `)).toBe('longer than 65536 bytes');
  });

  test('names at most 256 replicas', () => {
    const weights = (count: number): string => Array.from({ length: count }, (_, i) => `r${i}: 1`).join(', ');
    expect(refusal(`strategy: weighted\nweights: { ${weights(256)} }`)).toBe('good');
    expect(refusal(`strategy: weighted\nweights: { ${weights(257)} }`)).toMatch(
      /^weights: .+ allowed is at most 256 names$/,
    );
  });

  test('names replicas as it is written: 007 is not 7', () => {
    const parsed = parsePolicy('strategy: weighted\nweights: { 007: 1, 7: 2, 0x10: 3 }', 256);
    expect(parsed).toMatchObject({ ok: true, value: { weights: { '007': 1, '7': 2, '0x10': 3 } } });
  });

  test('repeats by alias what it says once, some times', () => {
    const weights = (count: number): string => Array.from({ length: count }, (_, i) => `s${i}: *a`).join(', ');
    expect(refusal(`strategy: weighted\nweights: { r1: &a 1, ${weights(15)} }`)).toBe('good');
    expect(refusal(`strategy: weighted\nweights: { r1: &a 1, ${weights(17)} }`)).toMatch(
      /^not YAML: Excessive alias count/,
    );
  });

  test('is read or refused in one line, whatever the text', () => {
    const words = [
      'strategy: ',
      'explicit',
      'weighted',
      'shares: ',
      '{ r1: 3 }',
      '{',
      '}',
      '[',
      '&a ',
      '*a',
      '"',
      '\n',
      '\t',
      '- ',
      '%',
      '!x ',
      '0-9',
      '\u0000',
      '\u2028',
    ];
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 5 })), { maxLength: 12 }),
        (parts) => {
          expect(refusal(parts.join(''))).toMatch(/^[^\p{Cc}\u2028\u2029]{1,400}$/u);
        },
      ),
      { numRuns: 500 },
    );
  });

  test.each([
    // So many levels end the process within the library.
    ['lists in lists', '['.repeat(60_000), 'nested more than 16 deep'],
    ['list items in list items', '- '.repeat(30_000), 'nested more than 16 deep'],
    // The library compares every key with every other one.
    ['many thousand keys', Array.from({ length: 9000 }, (_, i) => `k${i}:`).join('\n'), 'more than 8192 YAML symbols'],
    ['many thousand faults', '}'.repeat(60_000), 'more than 8192 YAML symbols'],
  ])('is refused before it can do harm: %s', (_what, text, line) => {
    expect(refusal(text)).toBe(line);
  });

  test('of 256 names with a comment each is read', () => {
    const weights = Array.from({ length: 256 }, (_, i) => `  replica-${i}: ${i} # rack ${i}\n`);
    expect(refusal(`strategy: weighted\nweights:\n${weights.join('')}`)).toBe('good');
  });

  test('whose aliases would grow into something huge is refused', () => {
    const rows = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...[...'bcdefg'].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefg'[i]}`)}]`),
    ];
    expect(refusal(rows.join('\n'))).toContain('not YAML');
  });
});

describe('the canonical text of a policy', () => {
  const canonicalOf = (text: string): string => {
    const parsed = parsePolicy(text, 256);
    return parsed.ok ? canonicalPolicy(parsed.value) : parsed.reason;
  };

  test('names every field, sorted', () => {
    expect(canonicalOf('strategy: equal')).toBe('{"drainDeadline":3600,"handoff":"forward","strategy":"equal"}');
  });

  test.each(['"0-3,5"', '"5,0-3"', '"0,1,2,3,5"', '" 2-3 , 0-2,\t5,5"'])(
    'is the same for slots written %s',
    (slots) => {
      expect(canonicalOf(`strategy: explicit\nshares: { r2: "", r1: ${slots} }`)).toBe(
        '{"drainDeadline":3600,"handoff":"forward","shares":{"r1":"0-3,5","r2":""},"strategy":"explicit"}',
      );
    },
  );

  test('differs where the content does', () => {
    const texts = ['{ r1: 1 }', '{ r1: 2 }', '{ r2: 1 }', '{ r1: 1, r2: 0 }', '{}'];
    expect(new Set(texts.map((weights) => canonicalOf(`strategy: weighted\nweights: ${weights}`))).size).toBe(5);
  });

  test('reads back, in whatever order the names came', () => {
    const names = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/);
    const entries = fc.uniqueArray(fc.tuple(names, fc.nat(1000)), { maxLength: 9, selector: ([name]) => name });
    fc.assert(
      fc.property(entries, (weights) => {
        const write = (all: typeof weights): string => all.map(([name, weight]) => `  ${name}: ${weight}`).join('\n');
        const text = canonicalOf(`strategy: weighted\nweights:${weights.length > 0 ? '\n' : ' {}'}${write(weights)}`);
        expect(JSON.parse(text)).toMatchObject({ weights: Object.fromEntries(weights) });
        expect(canonicalOf(text)).toBe(text);
        if (weights.length === 0) return;
        expect(canonicalOf(`handoff: forward\nweights:\n${write([...weights].reverse())}\nstrategy: weighted`)).toBe(
          text,
        );
      }),
    );
  });

  test('is the same for the same content in another order and form', () => {
    const texts = [
      'strategy: weighted\nweights: { r2: 1, r1: 2 }\nhandoff: forward\n',
      '# by hand\nweights:\n  r1: 2\n  r2: 1\nstrategy: "weighted"\n',
      '{"drainDeadline":3600,"handoff":"forward","weights":{"r1":2,"r2":1},"strategy":"weighted"}',
    ];
    const canonical = texts.map((text) => {
      const parsed = parsePolicy(text, 256);
      return parsed.ok ? canonicalPolicy(parsed.value) : parsed.reason;
    });
    expect(new Set(canonical).size).toBe(1);
    const back = parsePolicy(canonical[0] ?? '', 256);
    expect(back.ok && canonicalPolicy(back.value)).toBe(canonical[0]);
  });
});
