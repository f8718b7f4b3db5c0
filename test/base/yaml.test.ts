import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { readYaml, type YamlBounds } from '../../src/base/yaml.ts';

function refusal(text: string, bounds?: Partial<YamlBounds>): string {
  const read = readYaml(text, bounds);
  return read.ok ? 'good' : read.reason;
}

describe('YAML is read as plain values', () => {
  test.each([
    ['', null],
    ['# nothing', null],
    ['a: 1\nb: [x, 2.5, true, null]', { a: 1, b: ['x', 2.5, true, null] }],
    ['{"a": {"b": []}}', { a: { b: [] } }],
    // YAML 1.1 read these as true and as a time.
    ['a: yes\nb: 1:30', { a: 'yes', b: '1:30' }],
    ['007: a\n7: b\n0x7: c', { '007': 'a', '7': 'b', '0x7': 'c' }],
    ['a: &x { b: 1 }\nc: *x', { a: { b: 1 }, c: { b: 1 } }],
    ['a: !!str 5\nb: !!int "5"\nc: ! 5', { a: '5', b: 5, c: '5' }],
    ['constructor: 1\nproto: 2', { constructor: 1, proto: 2 }],
    // Nor does YAML 1.2 have merge keys.
    ['a: &x { b: 1 }\n<<: *x', { a: { b: 1 }, '<<': { b: 1 } }],
    ['%YAML 1.1\n---\na: yes\n<<: { b: 1 }', { a: 'yes', '<<': { b: 1 } }],
  ])('%j', (text, value) => {
    expect(readYaml(text)).toEqual({ ok: true, value });
  });

  test('that may hold themselves', () => {
    const read = readYaml('&a [*a]');
    const value = read.ok ? (read.value as unknown[]) : [];
    expect(value[0]).toBe(value);
  });

  test('whatever was written', () => {
    const values = fc.jsonValue({ maxDepth: 4, noUnicodeString: false });
    const withoutProto = values.filter((value) => !JSON.stringify(value).includes('"__proto__":'));
    fc.assert(
      fc.property(withoutProto, (value) => {
        const read = readYaml(stringify(value, { aliasDuplicateObjects: false }));
        expect(JSON.stringify(read)).toBe(JSON.stringify({ ok: true, value }));
      }),
      { numRuns: 300 },
    );
  });
});

describe('YAML is refused in one line', () => {
  test.each([
    ['a: !x 1', 'not YAML: Unresolved tag: !x at line 1, column 4'],
    ['- !x { a: 1 }', 'not YAML: Unresolved tag: !x at line 1, column 3'],
    ['a: !!set { b }', 'not YAML: Unresolved tag: tag:yaml.org,2002:set at line 1, column 4'],
    ['a: !!binary aGk=', 'not YAML: Unresolved tag: tag:yaml.org,2002:binary at line 1, column 4'],
    ['a: !!int many', 'not YAML: Unresolved tag: tag:yaml.org,2002:int at line 1, column 4'],
    [`a: !${'x'.repeat(200)} 1`, `not YAML: Unresolved tag: !${'x'.repeat(143)}…`],
    ['%YAML 1.3\n---\na: 1', 'not YAML: Unsupported YAML version 1.3 at line 1, column 7'],
    ['a: 1\n---\na: 2', 'more than one YAML document, which "---" begins; allowed is one'],
    ['%COLOUR red\n---\na: 1', 'not YAML: Unknown directive %COLOUR at line 1, column 1'],
    ['__proto__: 1', 'the key __proto__ at line 1, column 1 is not allowed'],
    ['a: 1\nb: { c: 1, __proto__: { d: 2 } }', 'the key __proto__ at line 2, column 12 is not allowed'],
    ['__proto__: { __proto__: 1 }', 'the key __proto__ at line 1, column 1 is not allowed'],
    ['- - "__pro\\x74o__": 1', 'the key __proto__ at line 1, column 5 is not allowed'],
    ['? &k __proto__\n: 1', 'the key __proto__ at line 1, column 6 is not allowed'],
    ['a: &k __proto__\n*k : 1', 'not YAML: With stringKeys, all keys must be strings at line 2, column 1'],
    ['a: 1\na: 2', 'not YAML: Map keys must be unique at line 2, column 1'],
    ['7: 1\n"7": 2', 'not YAML: Map keys must be unique at line 2, column 1'],
    ['? [a]\n: 1', 'not YAML: With stringKeys, all keys must be strings at line 1, column 3'],
    ['a: *b', 'not YAML: Unresolved alias (the anchor must be set before the alias): b'],
    ['"\\x1b[1m', 'not YAML: Missing closing "quote at line 1, column 9'],
  ])('%j', (text, line) => {
    expect(refusal(text)).toBe(line);
  });

  test('whatever the text', () => {
    const words = ['a: ', '- ', '{', '}', '[', ']', '&a ', '*a', '"', '\n', '\t', '%', '!x ', '? ', '|\n', '\u0000'];
    const parts = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 5 })), { maxLength: 12 });
    fc.assert(
      fc.property(parts, (text) => {
        expect(refusal(text.join(''))).toMatch(/^[^\p{Cc}\u2028\u2029]{1,200}$/u);
      }),
      { numRuns: 500 },
    );
  });
});

describe('YAML out of bounds is refused before it can do harm', () => {
  const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
  const repeated = (times: number): string => `[&a x, ${Array(times).fill('*a').join(', ')}]`;

  test.each<[string, (size: number) => string, Partial<YamlBounds>, number, string]>([
    ['bytes', (size) => `# ${'é'.repeat(size)}`, { bytesMax: 100 }, 49, 'longer than 100 bytes'],
    ['nesting', deep, { nestingMax: 6 }, 5, 'nested more than 6 deep'],
    ['symbols', (size) => '-\n'.repeat(size), { symbolsMax: 100 }, 49, 'more than 100 YAML symbols'],
    [
      'aliases',
      repeated,
      { aliasCountMax: 5 },
      4,
      'not YAML: Excessive alias count indicates a resource exhaustion attack',
    ],
  ])('%s', (_what, textOf, bounds, largest, line) => {
    expect(refusal(textOf(largest), bounds)).toBe('good');
    expect(refusal(textOf(largest + 1), bounds)).toBe(line);
  });

  test.each([
    ['lists in lists', '['.repeat(60_000), 'nested more than 16 deep'],
    ['many thousand faults', '}'.repeat(60_000), 'more than 8192 YAML symbols'],
    ['many bytes', 'x'.repeat(65_537), 'longer than 65536 bytes'],
  ])('by default: %s', (_what, text, line) => {
    expect(refusal(text)).toBe(line);
  });

  test('and read with larger bounds', () => {
    const rows = Array.from({ length: 3000 }, (_, i) => `- name: "${i}"`);
    expect(refusal(rows.join('\n'))).toBe('more than 8192 YAML symbols');
    expect(refusal(rows.join('\n'), { bytesMax: 1024 * 1024, symbolsMax: 65_536 })).toBe('good');
  });
});
