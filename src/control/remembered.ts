import { defined } from '../base/assert.ts';
import { type Policy, parsePolicy } from '../policy/index.ts';
import type { Ledger } from '../wire/ledger.ts';
import type { ControlConfig } from './parts.ts';

/** What an earlier life stored; a ledger for another partition is of no use. */
export function usableLedger({ durable, partition }: ControlConfig): Ledger | null {
  const ledger = durable?.ledger ?? null;
  const { slotCount } = partition;
  const usable = ledger !== null && ledger.owners.length === slotCount && parsePolicy(ledger.policy, slotCount).ok;
  return usable ? ledger : null;
}

/** Reads the policy text of checked ledgers; it rarely changes, so the last one is remembered. */
export function rememberingPolicies(slotCount: number): (text: string) => Policy {
  let last: { readonly text: string; readonly policy: Policy } | null = null;
  return (text) => {
    if (last?.text !== text) {
      const policy = parsePolicy(text, slotCount);
      last = { text, policy: defined(policy.ok ? policy.value : null, 'the policy of a checked ledger') };
    }
    return last.policy;
  };
}
