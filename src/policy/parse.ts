import { ok, type Result, refuse } from '../base/result.ts';
import { firstIssue } from '../base/schema-issue.ts';
import { readYaml } from '../base/yaml.ts';
import { formatSlots, parseSlots } from '../space/index.ts';
import { type Policy, policySchema } from './schema.ts';

/** What the last texts came to: ledgers and proposals bring the same few again and again. */
const parsed = new Map<string, Result<Policy>>();
const parsedMax = 16;

/** Text of a policy file, checked whole; a refusal is one line: which field, what is wrong, what is allowed. */
export function parsePolicy(text: string, slotCount: number): Result<Policy> {
  const key = `${slotCount} ${text}`;
  const known = parsed.get(key);
  if (known) return known;
  if (parsed.size >= parsedMax) parsed.clear();
  const policy = parse(text, slotCount);
  parsed.set(key, policy);
  return policy;
}

function parse(text: string, slotCount: number): Result<Policy> {
  const input = readYaml(text);
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
