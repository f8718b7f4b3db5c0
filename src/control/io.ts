import type { Policy } from '../policy/schema.ts';
import type { Via } from '../wire/envelope.ts';

/** All that reaches the state machine from outside. `at` is monotonic milliseconds and never decreases. */
export type ControlInput =
  /** The time `nextTimeout` named has come. */
  | { readonly kind: 'tick'; readonly at: number }
  /** A datagram whose envelope was authenticated; its body is still hostile until decoded. */
  | {
      readonly kind: 'message';
      readonly at: number;
      readonly via: Via;
      readonly sender: string;
      readonly session: number;
      readonly counter: number;
      readonly body: Uint8Array;
    }
  /** The kernel judges every new packet by the `program` output of this revision. */
  | { readonly kind: 'programmed'; readonly at: number; readonly revision: number }
  /** A person saved or applied this policy at this agent. */
  | { readonly kind: 'propose'; readonly at: number; readonly policy: Policy }
  /** Hand everything off, then leave. */
  | { readonly kind: 'leave'; readonly at: number };

/** All that the state machine wants done, in this order. */
export type ControlOutput =
  | { readonly kind: 'send'; readonly to: 'group' | { readonly peer: string }; readonly body: Uint8Array }
  /** Stored, whole, before any later output is carried out. */
  | { readonly kind: 'persist'; readonly ledger: Uint8Array }
  /** Accept exactly these slots; answered by `programmed` with the same revision. Revisions grow; only the newest counts. */
  | { readonly kind: 'program'; readonly revision: number; readonly slots: ReadonlySet<number> }
  /** Gives `mark` a lease in the kernel that ends by itself after `leaseMs`; done before any later output, as asking for the lease is one. */
  | { readonly kind: 'arm'; readonly mark: number; readonly leaseMs: number }
  /** The lease of `mark` is granted: the kernel accepts while it lasts, however the agent fares. It may be over already. */
  | { readonly kind: 'grant'; readonly mark: number }
  /** Destroy the flows of these slots: another replica owns them now and its kernel has confirmed it. */
  | { readonly kind: 'reset'; readonly slots: ReadonlySet<number> }
  | { readonly kind: 'event'; readonly event: ControlEvent }
  /** Nothing is left to wait for after `leave`. */
  | { readonly kind: 'left' };

/** What a person or a log wants to know. */
export type ControlEvent =
  | { readonly kind: 'peer'; readonly name: string; readonly state: PeerState }
  | { readonly kind: 'verdict'; readonly verdict: Verdict; readonly cause: string }
  | {
      readonly kind: 'ledger';
      readonly epoch: number;
      readonly by: string;
      /** Slots whose owner this epoch changes. */
      readonly changed: number;
      readonly cause: string;
      /** Owner of each slot, null while nobody's. */
      readonly owners: readonly (string | null)[];
    }
  | {
      readonly kind: 'move';
      readonly id: number;
      readonly slots: readonly number[];
      readonly from: string;
      readonly to: string;
      readonly phase: 'leave' | 'owned' | 'done';
    }
  /** A proposal came into force, was in force already, or was superseded. */
  | { readonly kind: 'proposal'; readonly outcome: 'adopted' | 'unchanged' | 'superseded' };

/** `waiting`: no map yet, or not enough voters heard; `fenced`: had a share and dropped it because the coordinator is not heard. */
export type Verdict = 'serving' | 'waiting' | 'fenced' | 'leaving';

export type PeerState = 'heard' | 'silent' | 'leaving';

/** What `status` shows. */
export interface ControlView {
  readonly node: string;
  readonly verdict: Verdict;
  /** Why, one line. */
  readonly cause: string;
  /** 0 before the first map. */
  readonly epoch: number;
  readonly coordinator: string | null;
  /** No move is under way. */
  readonly settled: boolean;
  /** Replicas that the map shares the slots among, sorted; empty before the first map. */
  readonly members: readonly string[];
  /** Owner of each slot; empty before the first map. */
  readonly owners: readonly (string | null)[];
  /** Slots that this kernel was told to accept. */
  readonly accepting: ReadonlySet<number>;
  readonly moves: readonly {
    readonly id: number;
    readonly slots: readonly number[];
    readonly from: string;
    readonly to: string;
    readonly phase: 'leave' | 'owned';
  }[];
  /** The policy in force; null before the first map. */
  readonly policy: Policy | null;
  readonly peers: readonly { readonly name: string; readonly state: PeerState; readonly via: Via | null }[];
  /** Input that changed nothing, by reason. */
  readonly refused: Readonly<Record<string, number>>;
}
