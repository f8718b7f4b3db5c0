import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { firstIssue } from '../../src/base/schema-issue.ts';
import { jsonSchemaOf, markdownReference } from '../../src/base/schema-reference.ts';

const schema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z]+$/, 'lower-case letters')
    .describe('What it is called.'),
  size: z.number().int().min(1).max(9).default(3).describe('How large.'),
  mode: z.enum(['slow', 'fast']).describe('How | fast.'),
  tags: z.array(z.string()).max(2).optional().describe('Words.'),
  weights: z.record(z.string().regex(/^r\d$/, 'r and a digit'), z.number()).optional().describe('By name.'),
  steps: z
    .array(
      z.union([
        z.strictObject({ wait: z.number() }).describe('Wait.'),
        z.strictObject({ cut: z.string() }).describe('Cut.'),
      ]),
    )
    .optional()
    .describe('In order.'),
});

describe('the first complaint is one line: where, what, what is allowed', () => {
  const good = { name: 'a', mode: 'slow' };
  test.each([
    [undefined, 'empty, allowed is fields with values'],
    [7, '7 is not allowed, allowed is fields with values'],
    [{ mode: 'slow' }, 'name: missing, allowed is text'],
    [{ ...good, name: 'A' }, 'name: "A" is not allowed, allowed is lower-case letters'],
    [{ ...good, size: 10 }, 'size: 10 is not allowed, allowed is at most 9'],
    [{ ...good, size: 1.5 }, 'size: 1.5 is not allowed, allowed is a whole number'],
    [{ ...good, mode: 'warp' }, 'mode: "warp" is not allowed, allowed are slow, fast'],
    [{ ...good, size: 0 }, 'size: 0 is not allowed, allowed is at least 1'],
    [{ ...good, size: '3' }, 'size: "3" is not allowed, allowed is a number'],
    [{ ...good, mode: null }, 'mode: missing, allowed are slow, fast'],
    [{ ...good, tags: {} }, 'tags: {} is not allowed, allowed is a list'],
    [{ ...good, steps: [{ wait: 1 }, { wiat: 1 }] }, 'steps[1].wait: missing, allowed is a number'],
    [
      { ...good, 'two\nlines': 1 },
      'two\\u000alines: unknown field, allowed are name, size, mode, tags, weights, steps',
    ],
    [
      { ...good, ['x'.repeat(99)]: 1 },
      `${'x'.repeat(60)}…: unknown field, allowed are name, size, mode, tags, weights, steps`,
    ],
    [{ ...good, name: '\u009b1m' }, 'name: "\\u009b1m" is not allowed, allowed is lower-case letters'],
    [{ ...good, tags: ['a', 3] }, 'tags[1]: 3 is not allowed, allowed is text'],
    [{ ...good, tags: ['a', 'b', 'c'] }, 'tags: ["a","b","c"] is not allowed, allowed is a list of at most 2'],
    [{ ...good, nmae: 'a' }, 'nmae: unknown field, allowed are name, size, mode, tags, weights, steps'],
    [{ ...good, weights: { x: 1 } }, 'weights: the name "x" is not allowed, allowed is r and a digit'],
    [{ ...good, weights: { r1: 'much' } }, 'weights.r1: "much" is not allowed, allowed is a number'],
    [{ ...good, steps: [{ wait: 'long' }] }, 'steps[0].wait: "long" is not allowed, allowed is a number'],
    [
      { ...good, name: 'x'.repeat(100).toUpperCase() },
      `name: "${'X'.repeat(59)}… is not allowed, allowed is lower-case letters`,
    ],
  ])('%j', (input, line) => {
    const checked = schema.safeParse(input);
    expect(checked.success ? 'good' : firstIssue(schema, checked.error, input)).toBe(line);
  });
});

test('a value that holds itself is refused, not followed', () => {
  const input: Record<string, unknown> = { name: 'a', mode: 'slow' };
  const tags = { tags: input };
  Object.assign(input, tags, { size: input });
  const checked = schema.safeParse(input);
  expect(checked.success ? 'good' : firstIssue(schema, checked.error, input)).toBe(
    'size: a value within itself is not allowed, allowed is a number',
  );
});

describe('a schema of several forms', () => {
  const forms = z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('cat'), lives: z.number() }).describe('A cat'),
    z
      .strictObject({ kind: z.literal('dog'), tricks: z.record(z.string(), z.strictObject({ age: z.number() })) })
      .describe('A dog'),
  ]);

  test.each([
    [{ kind: 'cow' }, 'kind: "cow" is not allowed, allowed are cat, dog'],
    [{}, 'kind: missing, allowed are cat, dog'],
    [{ kind: 'cat', lives: 9, tricks: {} }, 'tricks: unknown field, allowed are kind, lives'],
    [{ kind: 'dog', tricks: { sit: { age: 1, treat: 2 } } }, 'tricks.sit.treat: unknown field, allowed are age'],
  ])('%j', (input, line) => {
    const checked = forms.safeParse(input);
    expect(checked.success ? 'good' : firstIssue(forms, checked.error, input)).toBe(line);
  });

  test('has a table for each', () => {
    const page = markdownReference('pet.yaml', 'A pet.', forms);
    expect(page).toContain('## A cat\n\n| field | allowed | default | meaning |');
    expect(page).toContain('## A dog\n');
    expect(page).toContain('| `kind` | `cat` | required |');
    expect(page).toContain('| `tricks.NAME.age` | number | required |');
  });
});

describe('a schema documents itself', () => {
  const page = markdownReference('thing.yaml', 'A thing.', schema);

  test('with a row for each field', () => {
    expect(page).toContain('# thing.yaml\n');
    expect(page).toContain('| `name` | text | required | What it is called. |');
    expect(page).toContain('| `size` | whole number, 1 to 9 | `3` | How large. |');
    expect(page).toContain('| `mode` | `slow`, `fast` | required | How \\| fast. |');
    expect(page).toContain('| `tags` | list of text |  | Words. |');
    expect(page).toContain('| `weights` | number by name |  | By name. |');
    expect(page).toContain('| `steps[]` | fields |  | Cut. |\n| `steps[].cut` | text | required |  |');
  });

  test('and is a JSON schema for editors', () => {
    expect(jsonSchemaOf(schema, { title: 'thing.yaml' })).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      title: 'thing.yaml',
      required: ['name', 'mode'],
      additionalProperties: false,
      properties: { size: { type: 'integer', minimum: 1, maximum: 9, default: 3 } },
    });
  });
});
