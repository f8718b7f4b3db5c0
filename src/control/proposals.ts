import { decodeProposal, encodeProposal } from '../wire/control-message.ts';
import type { Ledger } from '../wire/ledger.ts';
import { type Change, changeOf, isInForce, objectionTo, proposalOf, titleOf } from './change.ts';
import type { ControlEvent } from './io.ts';
import { partsOf } from './transfer.ts';

type ProposalEvent = ControlEvent & { readonly kind: 'proposal' };

interface Wanted {
  readonly change: Change;
  /** The newest epoch known when it was proposed; null before the first map. */
  readonly seen: number | null;
  /** Given up then. */
  readonly until: number;
}

/** Changes waiting at one agent; more than that are refused. */
const pendingMax = 16;

/** What was proposed here and is not in force yet, and, at a coordinator, what was proposed to it. */
export class Proposals {
  readonly #slotCount: number;
  readonly #resendMs: number;
  readonly #patienceMs: number;
  readonly #pending = new Map<string, Wanted>();
  readonly #offered = new Map<string, { readonly seen: number; readonly change: Change }>();
  #sentAt = Number.NEGATIVE_INFINITY;
  #transfer = 0;

  constructor(slotCount: number, { resendMs, proposalMs }: { readonly resendMs: number; readonly proposalMs: number }) {
    this.#slotCount = slotCount;
    this.#resendMs = resendMs;
    this.#patienceMs = proposalMs;
  }

  /** Takes the place of an earlier proposal of the same title. */
  propose(change: Change, known: Ledger | null, now: number): readonly ProposalEvent[] {
    const title = titleOf(change);
    const objection = known && objectionTo(change, known);
    if (objection) return [{ kind: 'proposal', title, outcome: 'refused', reason: objection }];
    if (this.#pending.size >= pendingMax && !this.#pending.has(title)) {
      return [{ kind: 'proposal', title, outcome: 'refused', reason: `${pendingMax} changes are waiting already` }];
    }
    const earlier = this.#pending.get(title);
    if (earlier && isAlike(earlier.change, change)) return [];
    this.#pending.delete(title);
    const replaced: readonly ProposalEvent[] = earlier ? [{ kind: 'proposal', title, outcome: 'superseded' }] : [];
    this.#sentAt = Number.NEGATIVE_INFINITY;
    if (known && isInForce(change, known)) return [...replaced, { kind: 'proposal', title, outcome: 'unchanged' }];
    // A saved policy file stays wanted; somebody waits for the answer to anything else.
    const until = change.kind === 'policy' ? Number.POSITIVE_INFINITY : now + this.#patienceMs;
    this.#pending.set(title, { change, seen: known?.epoch ?? null, until });
    return replaced;
  }

  /** What became of the pending proposals, now that `known` is in force. */
  settle(known: Ledger): ProposalEvent[] {
    const events: ProposalEvent[] = [];
    for (const [title, { change, seen, until }] of this.#pending) {
      const outcome = outcomeOf(change, seen, known);
      if (outcome) {
        this.#pending.delete(title);
        events.push({ kind: 'proposal', title, outcome });
      } else if (seen === null) {
        this.#pending.set(title, { change, seen: known.epoch, until });
      }
    }
    return events;
  }

  /** Gives up what nobody has taken up in time. */
  expire(now: number): ProposalEvent[] {
    if (this.#pending.size === 0) return [];
    const late = [...this.#pending].filter(([, { until }]) => now >= until);
    return late.map(([title]) => {
      this.#pending.delete(title);
      return { kind: 'proposal', title, outcome: 'refused', reason: 'the coordinator did not take it up' };
    });
  }

  /** The bodies that tell the coordinator, until the proposals are in force; not before they are due. */
  toSend(now: number): Uint8Array[] {
    if (this.#pending.size === 0 || now < this.#sentAt + this.#resendMs) return [];
    const encoded = this.#encoded();
    if (encoded.length > 0) this.#sentAt = now;
    return encoded.flatMap((each) => partsOf('proposal', ++this.#transfer, each));
  }

  /** At a coordinator: its own proposals are offered without a datagram. */
  offerOwn(): void {
    for (const each of this.#encoded()) this.offer(each);
  }

  /** At a coordinator: false when the bytes are no proposal. */
  offer(encoded: Uint8Array): boolean {
    const proposal = decodeProposal(encoded);
    const change = proposal.ok ? changeOf(proposal.value, this.#slotCount) : null;
    if (!proposal.ok || !change) return false;
    this.#offered.set(titleOf(change), { seen: proposal.value.seen, change });
    return true;
  }

  /** Whoever wants something asks again: what was offered to this agent while it coordinated is not taken up when it does so later. */
  forgetOffered(): void {
    this.#offered.clear();
  }

  /** The offered changes that `ledger` allows and does not say already, each proposed by somebody who knew the policy in force. */
  takeFor(ledger: Ledger): Change[] {
    const offered = [...this.#offered.values()];
    this.#offered.clear();
    return offered
      .filter(
        ({ seen, change }) => seen >= ledger.policyEpoch && !isInForce(change, ledger) && !objectionTo(change, ledger),
      )
      .map(({ change }) => change);
  }

  #encoded(): Uint8Array[] {
    return [...this.#pending.values()].flatMap(({ change, seen }) =>
      seen === null ? [] : [encodeProposal(proposalOf(change, seen))],
    );
  }
}

function isAlike(a: Change, b: Change): boolean {
  return JSON.stringify(proposalOf(a, 0)) === JSON.stringify(proposalOf(b, 0));
}

/** A policy that another one overtook is not wanted any more. */
function outcomeOf(change: Change, seen: number | null, known: Ledger): ProposalEvent['outcome'] | null {
  if (isInForce(change, known)) return seen === null ? 'unchanged' : 'adopted';
  const overtaken = change.kind === 'policy' && seen !== null && known.policyEpoch > seen;
  return overtaken ? 'superseded' : null;
}
