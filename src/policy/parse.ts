import { Lexer, Parser, parse as parseYaml } from 'yaml';
import { oneLine } from '../base/one-line.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { firstIssue } from '../base/schema-issue.ts';
import { formatSlots, parseSlots } from '../space/index.ts';
import { type Policy, policySchema } from './schema.ts';

/** A longer file is refused unread. */
export const policyBytesMax = 64 * 1024;
/** How often YAML aliases may repeat what they stand for, so that a short file cannot become a huge value. */
const aliasCountMax = 16;
/** Deeper than any policy. The YAML library descends by recursion, and tens of thousands of nested lists end the process. */
const nestingMax = 16;
/** Three times what a policy of 256 names takes with a comment each. On some faults the library takes time by the square of this. */
const symbolsMax = 8192;
/** Characters of a complaint about YAML, which may quote the file. */
const complaintCharactersMax = 160;

/** Text of a policy file, checked whole; a refusal is one line: which field, what is wrong, what is allowed. */
export function parsePolicy(text: string, slotCount: number): Result<Policy> {
  if (new TextEncoder().encode(text).length > policyBytesMax) return refuse(`longer than ${policyBytesMax} bytes`);
  const input = yamlOf(text);
  if (!input.ok) return input;
  const checked = policySchema.safeParse(input.value);
  if (!checked.success) return refuse(firstIssue(policySchema, checked.error, input.value));
  return checked.data.strategy === 'explicit' ? withShares(checked.data, slotCount) : ok(checked.data);
}

/** The same content gives the same text, whatever the order or form it was written in; `parsePolicy` reads it back. */
export function canonicalPolicy(policy: Policy): string {
  return JSON.stringify(policy, (_key, value: unknown) =>
    typeof value === 'object' && value !== null
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}

function yamlOf(text: string): Result<unknown> {
  const excess = excessOf(text);
  if (excess !== null) return refuse(excess);
  try {
    // As strings, 007 and 7 are two names, and 7 and "7" are one given twice. Warnings would be printed by the library.
    const options = { maxAliasCount: aliasCountMax, uniqueKeys: true, stringKeys: true, strict: true } as const;
    return ok(parseYaml(text, { ...options, logLevel: 'error' }));
  } catch (error) {
    const [first = ''] = String(error instanceof Error ? error.message : error).split('\n');
    return refuse(`not YAML: ${oneLine(first.replace(/:$/, ''), complaintCharactersMax)}`);
  }
}

/** Looks at YAML symbol by symbol, which recurses nowhere and takes time in proportion to its length. */
function excessOf(text: string): string | null {
  const parser = new Parser();
  let symbols = 0;
  for (const symbol of new Lexer().lex(text)) {
    symbols += 1;
    if (symbols > symbolsMax) return `more than ${symbolsMax} YAML symbols`;
    for (const _ of parser.next(symbol));
    if (parser.stack.length > nestingMax) return `nested more than ${nestingMax} deep`;
  }
  return null;
}

/** Slots in the form that `formatSlots` writes; refused if some do not exist or are given twice. */
function withShares(policy: Policy & { strategy: 'explicit' }, slotCount: number): Result<Policy> {
  const owners = new Map<number, string>();
  const shares: Record<string, string> = {};
  for (const [name, text] of Object.entries(policy.shares)) {
    const slots = parseSlots(text, slotCount);
    if (!slots.ok) return refuse(`shares.${name}: ${slots.reason}`);
    for (const slot of slots.value) {
      const other = owners.get(slot);
      if (other !== undefined) return refuse(`shares.${name}: slot ${slot} is given to ${other} already`);
      owners.set(slot, name);
    }
    shares[name] = formatSlots(slots.value);
  }
  return ok({ ...policy, shares });
}
