import type { TcpFlow } from '../base/tcp-flow.ts';
import type { Fence } from '../dataplane/data-plane.ts';
import type { Rows } from '../dataplane/forwarding-table.ts';
import type { Staying, UdpFlow } from '../dataplane/staying.ts';
import type { Policy } from '../policy/schema.ts';
import type { Via } from '../wire/envelope.ts';
import type { Move } from '../wire/ledger.ts';
import type { Change } from './change.ts';
import type { Advertised } from './routing.ts';

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
  /** Somebody else removed the kernel's table, and it is back: without any lease or hold. */
  | { readonly kind: 'rebuilt'; readonly at: number }
  /** The answer to `list`: the slots among them of which this host holds flows. */
  | { readonly kind: 'holding'; readonly at: number; readonly slots: ReadonlySet<number> }
  /** The answer to `flows`; null when they could not be listed. */
  | { readonly kind: 'flows'; readonly at: number; readonly flows: readonly TcpFlow[] | null }
  /** The answer to `seen`; null when they could not be listed. */
  | { readonly kind: 'seen'; readonly at: number; readonly flows: readonly UdpFlow[] | null }
  /** A segment of a flow that this host does not have, of a slot that is its own and settled; the kernel has held `reset` back, the packet that would say so. */
  | { readonly kind: 'unknown'; readonly at: number; readonly flow: TcpFlow; readonly reset: Uint8Array }
  /** The answer to `find`: the flows among them that this host has. */
  | { readonly kind: 'had'; readonly at: number; readonly asker: string; readonly flows: readonly TcpFlow[] }
  /** The host of a peer answered a `probe`. */
  | { readonly kind: 'alive'; readonly at: number; readonly peer: string }
  /** The server of this replica answers its checks, or does not; it does at the start. */
  | { readonly kind: 'health'; readonly at: number; readonly healthy: boolean }
  /** Of these peers the authority has taken the certificate back, and of no others: they have no say, and get no lease. */
  | { readonly kind: 'revoked'; readonly at: number; readonly names: readonly string[] }
  /** A person saved or applied this at this agent. */
  | { readonly kind: 'propose'; readonly at: number; readonly change: Change }
  /** A person wants a new cluster, begun by this agent. */
  | { readonly kind: 'found'; readonly at: number }
  /** Hand everything off, then leave. */
  | { readonly kind: 'leave'; readonly at: number };

/** All that the state machine wants done, in this order. */
export type ControlOutput =
  | { readonly kind: 'send'; readonly to: 'group' | { readonly peer: string }; readonly body: Uint8Array }
  /** Stored, whole, before any later output is carried out. */
  | { readonly kind: 'persist'; readonly state: Uint8Array }
  /** The kernel is to have exactly these rows, and these flows are to stay; answered by `programmed` with the same revision. Revisions grow; only the newest counts. */
  | { readonly kind: 'program'; readonly revision: number; readonly rows: Rows; readonly staying: Staying }
  /** The routers are to send the packets of exactly these slots here, and of no others. */
  | { readonly kind: 'advertise'; readonly advertised: Advertised }
  /** Gives `mark` a fence in the kernel that ends by itself after `ms`; done before any later output, as asking for the lease is one. */
  | { readonly kind: 'arm'; readonly fence: Fence; readonly mark: number; readonly ms: number }
  /** The fence of `mark` is the one that counts, however the agent fares; null for none. It may be over already. */
  | { readonly kind: 'grant'; readonly fence: Fence; readonly mark: number | null }
  /** Which of these slots does this host hold flows of? Answered by `holding`. */
  | { readonly kind: 'list'; readonly slots: ReadonlySet<number> }
  /** Which TCP flows of these slots does this host hold? Answered by `flows`. */
  | { readonly kind: 'flows'; readonly slots: ReadonlySet<number> }
  /** Of which UDP flows has the kernel taken anything of late? Answered by `seen`, in the order of the transactions. */
  | { readonly kind: 'seen' }
  /** Which of these flows does this host have? Answered by `had`. */
  | { readonly kind: 'find'; readonly asker: string; readonly flows: readonly TcpFlow[] }
  /** Nobody has the flow: a reset that was held back may leave, if the kernel still says so. */
  | { readonly kind: 'letGo'; readonly reset: Uint8Array }
  /** Do the hosts of these peers answer on the segment, whatever their agents do? Each that does is told by `alive`. */
  | { readonly kind: 'probe'; readonly peers: readonly string[] }
  /** Destroy the flows of these slots that this host still holds: they are another's, whose kernel has confirmed it. */
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
      readonly phase: Move['phase'] | 'done';
    }
  /** UDP flows that were to stay here and follow their slots instead, and why. */
  | { readonly kind: 'flows'; readonly following: number; readonly reason: string }
  /** A change proposed here came into force, was in force already, was overtaken by another, or cannot be. */
  | {
      readonly kind: 'proposal';
      readonly title: string;
      readonly outcome: 'adopted' | 'unchanged' | 'superseded' | 'refused';
      /** Of a refusal, one line. */
      readonly reason?: string;
    };

/** `waiting`: no map yet, or not enough voters heard; `fenced`: takes nothing new because the coordinator is not heard. */
export type Verdict = 'serving' | 'waiting' | 'fenced' | 'leaving';

export type PeerState = 'heard' | 'silent' | 'leaving' | 'revoked';

/** What `status` shows. */
export interface ControlView {
  readonly node: string;
  readonly verdict: Verdict;
  /** Why, one line. */
  readonly cause: string;
  /** 0 before the first map. */
  readonly epoch: number;
  readonly coordinator: string | null;
  /** Who votes; empty before the first map. */
  readonly voters: readonly { readonly name: string; readonly state: 'heard' | 'silent' | 'forgetful' }[];
  /** No move is under way. */
  readonly settled: boolean;
  /** Replicas that the map shares the slots among, sorted; empty before the first map. */
  readonly members: readonly string[];
  /** Owner of each slot; empty before the first map. */
  readonly owners: readonly (string | null)[];
  /** Slots whose new connections this kernel was told to take. */
  readonly accepting: ReadonlySet<number>;
  /** Routers whose kernels the moves of slots away from here wait for. */
  readonly awaitedRouters: readonly string[];
  readonly moves: readonly {
    readonly id: number;
    readonly slots: readonly number[];
    readonly from: string;
    readonly to: string;
    readonly phase: Move['phase'];
  }[];
  /** Hosts that may still hold flows of slots they gave away, for `msLeft` milliseconds at most. */
  readonly holders: readonly { readonly name: string; readonly slots: readonly number[]; readonly msLeft: number }[];
  /** Slots that this host has given away for good, with who takes their new connections. */
  readonly draining: ReadonlyMap<number, string>;
  /** Slots given away of which this host was last seen to hold flows. */
  readonly holding: ReadonlySet<number>;
  /** This kernel may take new connections. */
  readonly leased: boolean;
  readonly unhealthy: readonly string[];
  readonly drained: readonly string[];
  /** The policy in force; null before the first map. */
  readonly policy: Policy | null;
  readonly peers: readonly { readonly name: string; readonly state: PeerState; readonly via: Via | null }[];
  /** Input that changed nothing, by reason. */
  readonly refused: Readonly<Record<string, number>>;
}
