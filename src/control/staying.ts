import type { Rows } from '../dataplane/forwarding-table.ts';
import { nothingStays, type Staying, type UdpFlow } from '../dataplane/staying.ts';
import type { Part } from '../wire/control-message.ts';
import { decodeKept, decodeKnown } from '../wire/kept-flows.ts';
import type { Ledger } from '../wire/ledger.ts';
import { Foreign } from './foreign.ts';
import type { ControlOutput } from './io.ts';
import { Keeping, type KeptFlows, slotsOf } from './keeping.ts';
import type { Membership } from './membership.ts';
import { Opening } from './opening.ts';
import type { ControlConfig } from './parts.ts';
import { Telling } from './telling.ts';
import type { Timers } from './timers.ts';

/** UDP flows that stay with their holder while their slot moves: the part of this host in it, as holder and as new owner. */
export interface StayingFlows {
  /** What the kernel is to do about them, with the rows that follow from the map; null before the first of this life. Nothing stays where `keeps` is false. */
  follow(ledger: Ledger | null, rows: Rows, keeps: boolean, now: number): Staying;
  /** What follows once the kernel was told. `confirmed`: it does what it was told last. */
  step(confirmed: boolean, now: number): ControlOutput[];
  /** The answer to `seen`; returns what is to be told about it. */
  note(seen: readonly UdpFlow[] | null): ControlOutput[];
  /** What a peer says; false when that makes no sense. */
  hear(sender: string, session: number, content: Part['content'], value: Uint8Array): boolean;
  /** Such content is of use here. */
  readonly isUsed: boolean;
  /** A slot that is being left is not to be called left yet. */
  isWaiting(): boolean;
  /** Slots of which flows stay here. */
  heldSlots(): Set<number>;
  /** Nothing stays of these slots any more: their deadline has passed. */
  end(slots: readonly number[]): void;
  /** The lease was over, or the table gone, for a while: others may have been given everything. */
  lapse(): void;
}

export function createStayingFlows(
  { node, session, partition, udpIdleMs, rows, staying: adopted }: ControlConfig,
  membership: Membership,
  timers: Timers,
): StayingFlows {
  if (udpIdleMs === null) return nothing;
  const keeping = new Keeping(node, partition, timers, udpIdleMs, rows);
  const telling = new Telling(node, session, membership, timers);
  const foreign = new Foreign(partition, membership, timers, adopted.foreign);
  const opening = new Opening(node, membership, timers, rows, adopted.shut);
  let known: Ledger | null = null;
  /** What the kernel was last known to keep. */
  let standing: KeptFlows = new Map();
  /** Flows that follow their slots, of which nobody has been told. */
  let following = 0;
  return {
    isUsed: true,
    follow(ledger, rows, keeps, now): Staying {
      known = ledger;
      if (ledger) {
        foreign.follow(ledger, rows, now);
        opening.follow(ledger, rows, foreign.hasSaid, now);
        keeping.follow(ledger, rows, opening.shut, keeps, telling.knows);
        following += keeping.giveUp(telling.knows, now).length;
      }
      return { kept: keeping.flows, foreign: foreign.flows, shut: opening.shut };
    },
    step(confirmed, now): ControlOutput[] {
      if (!known) return [];
      const outputs: ControlOutput[] = [];
      if (confirmed) {
        standing = keeping.flows;
        telling.say(known, keeping);
        outputs.push(...foreign.answers());
      }
      if (following > 0) outputs.push(followEvent(following, 'the new owner does not answer'));
      following = 0;
      outputs.push(...telling.toSend(now));
      if (keeping.asks(confirmed, now)) outputs.push({ kind: 'seen' });
      return outputs;
    },
    note(seen): ControlOutput[] {
      const excess = keeping.note(seen, foreign.staysElsewhere);
      return excess > 0 ? [followEvent(excess, 'too many')] : [];
    },
    hear(sender, session, content, value): boolean {
      if (content === 'known') {
        const known = decodeKnown(value);
        if (known.ok) telling.note(sender, session, known.value);
        return known.ok;
      }
      const kept = decodeKept(value);
      return kept.ok && foreign.take(sender, session, kept.value);
    },
    isWaiting: () => keeping.isWaiting(telling.knows),
    heldSlots: () => new Set([...slotsOf(keeping.flows), ...slotsOf(standing)]),
    end: (slots) => void keeping.end(new Set(slots)),
    lapse: () => keeping.forget(),
  };
}

function followEvent(following: number, reason: string): ControlOutput {
  return { kind: 'event', event: { kind: 'flows', following, reason } };
}

/** For a service whose UDP follows the slot. */
const nothing: StayingFlows = {
  isUsed: false,
  follow: () => nothingStays,
  step: () => [],
  note: () => [],
  hear: () => false,
  isWaiting: () => false,
  heldSlots: () => new Set(),
  end() {},
  lapse() {},
};
