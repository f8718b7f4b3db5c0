import { parse as parseYaml } from 'yaml';
import { ok, type Result, refuse } from '../base/result.ts';
import { firstIssue } from '../base/schema-issue.ts';
import { parseSlots } from '../space/index.ts';
import { type Policy, policySchema } from './schema.ts';

/** A longer file is refused unread. */
export const policyBytesMax = 64 * 1024;
/** How often YAML aliases may repeat what they stand for, so that a short file cannot become a huge value. */
const aliasCountMax = 16;

/** Text of a policy file, checked whole; a refusal is one line: which field, what is wrong, what is allowed. */
export function parsePolicy(text: string, slotCount: number): Result<Policy> {
  if (new TextEncoder().encode(text).length > policyBytesMax) return refuse(`longer than ${policyBytesMax} bytes`);
  const input = yamlOf(text);
  if (!input.ok) return input;
  const checked = policySchema.safeParse(input.value);
  if (!checked.success) return refuse(firstIssue(policySchema, checked.error, input.value));
  const complaint = sharesComplaint(checked.data, slotCount);
  return complaint === null ? ok(checked.data) : refuse(complaint);
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
  try {
    return ok(parseYaml(text, { maxAliasCount: aliasCountMax, uniqueKeys: true, strict: true }));
  } catch (error) {
    const [first = ''] = String(error instanceof Error ? error.message : error).split('\n');
    return refuse(`not YAML: ${first.replace(/:$/, '')}`);
  }
}

/** What the fields alone do not show: slots that do not exist, or are given twice. */
function sharesComplaint(policy: Policy, slotCount: number): string | null {
  if (policy.strategy !== 'explicit') return null;
  const owners = new Map<number, string>();
  for (const [name, text] of Object.entries(policy.shares)) {
    const slots = parseSlots(text, slotCount);
    if (!slots.ok) return `shares.${name}: ${slots.reason}`;
    for (const slot of slots.value) {
      const other = owners.get(slot);
      if (other !== undefined) return `shares.${name}: slot ${slot} is given to ${other} already`;
      owners.set(slot, name);
    }
  }
  return null;
}
