import type { z } from 'zod';
import { oneLine } from './one-line.ts';
import { jsonSchemaOf, propertiesAt } from './schema-reference.ts';

type Issue = z.core.$ZodIssue;

/**
 * The first and most specific complaint of a failed check as one line: where, what is wrong, what is allowed. Messages that a schema gives
 * its own checks say what is allowed.
 */
export function firstIssue(schema: z.ZodType, error: z.ZodError, input: unknown): string {
  const [first] = error.issues;
  if (!first) return 'not as it should be';
  return lineAbout(schema, first, [], input);
}

function lineAbout(schema: z.ZodType, issue: Issue, above: readonly PropertyKey[], input: unknown): string {
  const path = [...above, ...issue.path];
  if (issue.code === 'invalid_union') {
    const closest = closestBranch(issue.errors);
    if (closest) return lineAbout(schema, closest, path, input);
  }
  if (issue.code === 'unrecognized_keys') {
    const fields = propertiesAt(jsonSchemaOf(schema, { title: '' }), path, input);
    return line([...path, issue.keys[0] ?? ''], `unknown field, allowed are ${fields.join(', ')}`);
  }
  if (issue.code === 'invalid_key') {
    return line(path.slice(0, -1), `the name ${shown(path.at(-1))} is not allowed, ${wanted(issue)}`);
  }
  const value = valueAt(input, path);
  if (path.length === 0 && (value === undefined || value === null)) return `empty, ${wanted(issue)}`;
  if (value === undefined || value === null) return line(path, `missing, ${wanted(issue)}`);
  return line(path, `${shown(value)} is not allowed, ${wanted(issue)}`);
}

/** Of a union's branches the one that came furthest: its complaint lies deepest. */
function closestBranch(branches: readonly (readonly Issue[])[]): Issue | undefined {
  const firsts = branches.flatMap((issues) => issues.slice(0, 1));
  return firsts.sort((a, b) => b.path.length - a.path.length)[0];
}

function wanted(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_value':
      return `allowed ${issue.values.length === 1 ? 'is' : 'are'} ${
        issue.message.startsWith('Invalid') ? issue.values.map(String).join(', ') : issue.message
      }`;
    case 'invalid_key':
      return `allowed is ${issue.issues[0]?.message ?? 'another name'}`;
    case 'invalid_union':
      return unionWanted(issue);
    case 'invalid_type':
      return `allowed is ${issue.message.startsWith('Invalid') ? (typeNames[issue.expected] ?? issue.expected) : issue.message}`;
    case 'too_small':
      return `allowed is ${bound(issue.origin, 'at least', Number(issue.minimum))}`;
    case 'too_big':
      return `allowed is ${bound(issue.origin, 'at most', Number(issue.maximum))}`;
    default:
      return `allowed is ${issue.message}`;
  }
}

/** A union that is told apart by one field names what that field may be. */
function unionWanted(issue: Issue): string {
  const options = (issue as { options?: readonly unknown[] }).options;
  return options ? `allowed are ${options.map(String).join(', ')}` : `allowed is ${issue.message}`;
}

function bound(origin: string, how: string, limit: number): string {
  if (origin === 'string') return `text of ${how} ${limit} characters`;
  if (origin === 'array') return `a list of ${how} ${limit}`;
  if (origin === 'number' || origin === 'int') return `${how} ${limit}`;
  return `${how} ${limit} entries`;
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  int: 'a whole number',
  number: 'a number',
  array: 'a list',
  object: 'fields with values',
  record: 'names with values',
  boolean: 'true or false',
};

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Readonly<Record<PropertyKey, unknown>>)[key];
  }
  return value;
}

function shown(value: unknown): string {
  try {
    return oneLine((typeof value === 'number' ? undefined : JSON.stringify(value)) ?? String(value));
  } catch {
    // A YAML alias may stand within what it stands for.
    return 'a value within itself';
  }
}

function line(path: readonly PropertyKey[], complaint: string): string {
  const where = path
    .map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i > 0 ? '.' : ''}${oneLine(String(key))}`))
    .join('');
  return where === '' ? complaint : `${where}: ${complaint}`;
}
