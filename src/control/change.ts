import { canonicalPolicy, type Policy, parsePolicy } from '../policy/index.ts';
import type { Proposal } from '../wire/control-message.ts';
import { type Ledger, ledgerBounds, votersMax } from '../wire/ledger.ts';
import { intendedOwners } from './moves.ts';

/** What a person wants of the cluster. */
export type Change =
  | { readonly kind: 'policy'; readonly policy: Policy }
  /** No share for this member, or one again. */
  | { readonly kind: 'drain' | 'undrain'; readonly name: string }
  /** These slots go to this member, until the policy or the members change. */
  | { readonly kind: 'move'; readonly slots: readonly number[]; readonly name: string }
  /** Who votes: one more, one less, or one in the place of another. */
  | { readonly kind: 'voters'; readonly name: string | null; readonly instead: string | null };

/** Names a change for people and tells it from others: a newer one of the same name takes its place. */
export function titleOf(change: Change): string {
  switch (change.kind) {
    case 'policy':
      return 'policy';
    case 'drain':
    case 'undrain':
      return `${change.kind} ${change.name}`;
    case 'move':
      return `move to ${change.name}`;
    case 'voters':
      return ['voters', change.name && `add ${change.name}`, change.instead && `remove ${change.instead}`]
        .filter(Boolean)
        .join(' ');
  }
}

/** Whether `ledger` says what the change wants. */
export function isInForce(change: Change, ledger: Ledger): boolean {
  switch (change.kind) {
    case 'policy':
      return ledger.policy === canonicalPolicy(change.policy);
    case 'drain':
      return ledger.drained.includes(change.name);
    case 'undrain':
      return !ledger.drained.includes(change.name);
    case 'move': {
      const intended = intendedOwners(ledger, ledger.members);
      return change.slots.every((slot) => intended[slot] === change.name);
    }
    case 'voters': {
      const names = ledger.voters.map(({ name }) => name);
      return (
        (change.name === null || names.includes(change.name)) &&
        (change.instead === null || !names.includes(change.instead))
      );
    }
  }
}

/** Why `ledger` allows no such change, one line; null when it does. */
export function objectionTo(change: Change, ledger: Ledger): string | null {
  const noMember = (name: string): string | null =>
    ledger.members.includes(name) ? null : `"${name}" is no member, allowed are ${ledger.members.join(', ')}`;
  switch (change.kind) {
    case 'policy': {
      const bytes = new TextEncoder().encode(canonicalPolicy(change.policy)).length;
      return bytes > ledgerBounds.policyBytes ? `longer than ${ledgerBounds.policyBytes} bytes` : null;
    }
    case 'drain':
    case 'undrain':
      return noMember(change.name);
    case 'move':
      if (ledger.drained.includes(change.name)) return `${change.name} is drained: undrain it first`;
      if (ledger.unhealthy.includes(change.name)) return `the server of ${change.name} does not answer`;
      return noMember(change.name);
    case 'voters':
      return objectionToVoters(change, ledger);
  }
}

function objectionToVoters({ name, instead }: Change & { kind: 'voters' }, ledger: Ledger): string | null {
  const names = ledger.voters.map((each) => each.name);
  if (instead !== null && !names.includes(instead)) return `"${instead}" is no voter, allowed are ${names.join(', ')}`;
  if (name !== null && names.includes(name)) return `"${name}" votes already`;
  if (name === null && names.length === 1) return `${names[0]} is the only voter`;
  if (name !== null && instead !== null && names.length === 1) return `${instead} is the only voter: add ${name} first`;
  if (instead === null && names.length >= votersMax)
    return `there are ${votersMax} voters already, no more are allowed`;
  return null;
}

export function proposalOf(change: Change, seen: number): Proposal {
  const nothing = { seen, policy: '', name: null, instead: null, slots: [] };
  if (change.kind === 'policy') return { ...nothing, kind: 'policy', policy: canonicalPolicy(change.policy) };
  return { ...nothing, ...change };
}

/** Null when it says nothing that could be done. */
export function changeOf({ kind, policy, name, instead, slots }: Proposal, slotCount: number): Change | null {
  switch (kind) {
    case 'policy': {
      const parsed = parsePolicy(policy, slotCount);
      return parsed.ok ? { kind, policy: parsed.value } : null;
    }
    case 'drain':
    case 'undrain':
      return name === null ? null : { kind, name };
    case 'move':
      return name === null || slots.length === 0 || slots.some((slot) => slot >= slotCount)
        ? null
        : { kind, name, slots };
    case 'voters':
      return name === null && instead === null ? null : { kind, name, instead };
  }
}
