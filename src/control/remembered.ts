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

/** Policies by their text in ledgers. */
export interface Policies {
  isOne(text: string): boolean;
  /** Of a checked ledger. */
  of(text: string): Policy;
}

/** The text rarely changes, so the last one is remembered. */
export function rememberingPolicies(slotCount: number): Policies {
  let last: { readonly text: string; readonly policy: Policy | null } | null = null;
  const read = (text: string): Policy | null => {
    if (last?.text !== text) {
      const policy = parsePolicy(text, slotCount);
      last = { text, policy: policy.ok ? policy.value : null };
    }
    return last.policy;
  };
  return {
    isOne: (text) => read(text) !== null,
    of: (text) => defined(read(text), 'the policy of a checked ledger'),
  };
}
