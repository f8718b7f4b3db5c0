import { describe, expect, test } from 'vitest';
import { canonicalPolicy, parsePolicy } from '../../src/policy/index.ts';

function refusal(text: string): string {
  const parsed = parsePolicy(text, 256);
  return parsed.ok ? 'good' : parsed.reason;
}

describe('a policy file', () => {
  test.each([
    ['strategy: equal', { strategy: 'equal', handoff: 'reset' }],
    [
      '{ strategy: weighted, weights: { r1: 50, r2: 0 } }',
      { strategy: 'weighted', weights: { r1: 50, r2: 0 }, handoff: 'reset' },
    ],
    [
      'strategy: explicit\nshares: { r1: "0-63,128", r2: "" }',
      { strategy: 'explicit', shares: { r1: '0-63,128', r2: '' }, handoff: 'reset' },
    ],
  ])('%s', (text, policy) => {
    expect(parsePolicy(text, 256)).toEqual({ ok: true, value: policy });
  });

  test.each([
    ['', 'missing, allowed is fields with values'],
    ['strategy: even', 'strategy: "even" is not allowed, allowed are equal, weighted, explicit'],
    ['strategy: equal\nhandof: reset', 'handof: unknown field, allowed are strategy, handoff'],
    [
      'strategy: equal\nhandoff: forward',
      'handoff: "forward" is not allowed, allowed is reset ("forward" is not built yet)',
    ],
    [
      'strategy: equal\nhandoff: transfer',
      'handoff: "transfer" is not allowed, allowed is reset ("transfer" is not built yet)',
    ],
    ['strategy: equal\nhandoff: tag', 'handoff: "tag" is not allowed, allowed is reset ("tag" is not built yet)'],
    ['strategy: equal\nhandoff: gentle', 'handoff: "gentle" is not allowed, allowed is reset'],
    ['strategy: weighted', 'weights: missing, allowed is names with values'],
    ['strategy: weighted\nweights: { r1: -1 }', 'weights.r1: -1 is not allowed, allowed is at least 0'],
    ['strategy: weighted\nweights: { r1: 1001 }', 'weights.r1: 1001 is not allowed, allowed is at most 1000'],
    [
      'strategy: weighted\nweights: { R1: 1 }',
      'weights.R1: 1 is not allowed, allowed is a name of lower-case letters, digits and "-", at most 32',
    ],
    ['strategy: explicit\nshares: { r1: 0-63, r2: "60" }', 'shares.r2: slot 60 is given to r1 already'],
    ['strategy: explicit\nshares: { r1: 0-300 }', 'shares.r1: slot 300 does not exist, allowed are 0 to 255'],
    ['strategy: explicit\nshares: { r1: most }', 'shares.r1: "most" is not a slot or a range of slots such as "0-63"'],
    ['strategy: equal\nstrategy: equal', 'not YAML: Map keys must be unique at line 2, column 1'],
    [
      'a: [',
      'not YAML: Flow sequence in block collection must be sufficiently indented and end with a ] at line 1, column 5',
    ],
    [`strategy: equal # ${'x'.repeat(65_536)}`, 'longer than 65536 bytes'],
  ])('is refused in one line: %#', (text, line) => {
    expect(refusal(text)).toBe(line);
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
  test('is the same for the same content in another order and form', () => {
    const texts = [
      'strategy: weighted\nweights: { r2: 1, r1: 2 }\nhandoff: reset\n',
      '# by hand\nweights:\n  r1: 2\n  r2: 1\nstrategy: "weighted"\n',
      '{"handoff":"reset","weights":{"r1":2,"r2":1},"strategy":"weighted"}',
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
