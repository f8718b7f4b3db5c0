import { canonicalPolicy, type Policy, parsePolicy } from '../policy/index.ts';
import { decodeProposal, encodeProposal } from '../wire/control-message.ts';
import { type Ledger, ledgerBounds } from '../wire/ledger.ts';
import type { ControlEvent } from './io.ts';
import { partsOf } from './transfer.ts';

type Outcome = (ControlEvent & { readonly kind: 'proposal' })['outcome'];

interface Wanted {
  readonly text: string;
  /** The newest epoch known when it was proposed; null before the first map. */
  readonly seen: number | null;
}

/** The policy that was proposed here and is not in force yet, and, at a coordinator, the one that was proposed to it. */
export class Proposals {
  readonly #slotCount: number;
  readonly #resendMs: number;
  #pending: Wanted | null = null;
  #offered: { readonly text: string; readonly seen: number; readonly policy: Policy } | null = null;
  #sentAt = Number.NEGATIVE_INFINITY;
  #transfer = 0;

  constructor(slotCount: number, resendMs: number) {
    this.#slotCount = slotCount;
    this.#resendMs = resendMs;
  }

  /** Takes the place of an earlier proposal. False when the policy is too long for a ledger. */
  propose(policy: Policy, known: Ledger | null): { readonly taken: boolean; readonly outcomes: readonly Outcome[] } {
    const text = canonicalPolicy(policy);
    if (new TextEncoder().encode(text).length > ledgerBounds.policyBytes) return { taken: false, outcomes: [] };
    if (this.#pending?.text === text) return { taken: true, outcomes: [] };
    const replaced: readonly Outcome[] = this.#pending ? ['superseded'] : [];
    this.#sentAt = Number.NEGATIVE_INFINITY;
    this.#pending = known?.policy === text ? null : { text, seen: known?.epoch ?? null };
    return { taken: true, outcomes: this.#pending ? replaced : [...replaced, 'unchanged'] };
  }

  /** What became of the pending proposal, now that `known` is in force. */
  settle(known: Ledger): Outcome | null {
    const pending = this.#pending;
    if (!pending) return null;
    if (pending.seen === null) this.#pending = { ...pending, seen: known.epoch };
    const first = pending.seen === null;
    const outcome = known.policy === pending.text ? (first ? 'unchanged' : 'adopted') : 'superseded';
    if (outcome === 'superseded' && (first || known.policyEpoch <= (pending.seen ?? 0))) return null;
    this.#pending = null;
    return outcome;
  }

  /** The bodies that tell the coordinator, until the proposal is in force; not before it is due. */
  toSend(now: number): Uint8Array[] {
    const proposal = this.#encoded();
    if (!proposal || now < this.#sentAt + this.#resendMs) return [];
    this.#sentAt = now;
    return partsOf('proposal', ++this.#transfer, proposal);
  }

  /** At a coordinator: its own proposal is offered without a datagram. */
  offerOwn(): void {
    const proposal = this.#encoded();
    if (proposal) this.offer(proposal);
  }

  /** At a coordinator: false when the bytes are no proposal. */
  offer(encoded: Uint8Array): boolean {
    const proposal = decodeProposal(encoded);
    if (!proposal.ok) return false;
    const { policy: text, seen } = proposal.value;
    const policy = parsePolicy(text, this.#slotCount);
    if (!policy.ok) return false;
    this.#offered = { text: canonicalPolicy(policy.value), seen, policy: policy.value };
    return true;
  }

  /** The offered policy that is to follow `ledger`: another one than its own, and proposed by somebody who knew that one. */
  takeFor(ledger: Ledger): Policy | null {
    const offered = this.#offered;
    this.#offered = null;
    return offered && offered.text !== ledger.policy && offered.seen >= ledger.policyEpoch ? offered.policy : null;
  }

  #encoded(): Uint8Array | null {
    const pending = this.#pending;
    return pending && pending.seen !== null ? encodeProposal({ seen: pending.seen, policy: pending.text }) : null;
  }
}
