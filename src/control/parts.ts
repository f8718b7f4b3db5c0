import type { MacAddress } from '../base/mac.ts';
import type { Rows } from '../dataplane/forwarding-table.ts';
import type { Staying } from '../dataplane/staying.ts';
import type { Policy } from '../policy/index.ts';
import type { Partition } from '../space/partition.ts';
import type { decodeMessage } from '../wire/control-message.ts';
import type { Claimed, Claims } from './claims.ts';
import type { Drained, Draining } from './draining.ts';
import type { Durable } from './durable.ts';
import type { Following } from './following.ts';
import type { Lagging } from './lagging.ts';
import type { Membership } from './membership.ts';
import type { Probing } from './probing.ts';
import type { Proposals } from './proposals.ts';
import type { Questions } from './questions.ts';
import type { Register } from './register.ts';
import type { Policies } from './remembered.ts';
import type { Routing } from './routing.ts';
import type { Share } from './share.ts';
import type { StayingFlows } from './staying.ts';
import type { Succession } from './succession.ts';
import { isTagAwaited, type Tagging } from './tagging.ts';
import type { Timers } from './timers.ts';
import type { Voters } from './voters.ts';

/** What an agent is told once. */
export interface ControlConfig {
  readonly node: string;
  /** All names, the own included. */
  readonly peers: readonly string[];
  readonly partition: Partition;
  /** Names of the routers that send each packet to one replica; none where every replica gets every packet. */
  readonly routers: readonly string[];
  /** Monotonic milliseconds. */
  readonly start: number;
  /** What an earlier life persisted; null when there is nothing to remember. */
  readonly durable: Durable | null;
  /** Number of a new memory, below 2^48 and never used before, for an agent that has none. */
  readonly newIncarnation: number;
  /** Votes and serves nothing. */
  readonly witness: boolean;
  /** Policy of the very first map, should this agent make it; null for equal shares. */
  readonly policy: Policy | null;
  /** Number of this life on the control channel: tells own multicasts from those of a second agent of the same name. */
  readonly session: number;
  readonly timers?: Timers;
  /** Instead of `decodeMessage`, which it agrees with: who has several agents in one process reads each message once. */
  readonly decode?: typeof decodeMessage;
  /** Number of the machine's life, below 2^48. */
  readonly boot: number;
  /** Link address of the device that carries the service. */
  readonly mac: MacAddress;
  /** What the kernel has already: rows of an earlier life, whose lease may last on; or none. */
  readonly rows: Rows;
  /** As the rows. */
  readonly staying: Staying;
  /** UDP flows stay with their holder until they were silent for this long; null when they follow the slot. */
  readonly udpIdleMs: number | null;
  /** Frames of its slots reach this host alone, and holders need copies. Absent: every host sees every frame. */
  readonly copies?: boolean;
}

/** The pieces of one agent's state; each has one file. */
export interface Parts {
  readonly config: ControlConfig & { readonly incarnation: number };
  readonly voters: Voters;
  readonly timers: Timers;
  readonly membership: Membership;
  readonly following: Following;
  readonly register: Register;
  readonly share: Share;
  readonly routing: Routing;
  readonly proposals: Proposals;
  readonly succession: Succession;
  readonly lagging: Lagging;
  readonly draining: Draining;
  readonly drained: Drained;
  readonly probing: Probing;
  readonly questions: Questions;
  readonly claims: Claims;
  readonly claimed: Claimed;
  readonly policies: Policies;
  readonly staying: StayingFlows;
  readonly tagging: Tagging;
}

/** The epoch whose rows this kernel has; 0 for none, and while a slot is being left of which the new owner does not know yet what stays. */
export function programmedEpoch({ share, staying }: Parts): number {
  return staying.isWaiting() ? 0 : share.programmedEpoch;
}

/** The epoch up to which the routers do as the ledgers say with what this replica gives away, also with the flows that stay here, and this kernel takes nothing new of that any more. */
export function routedEpoch(parts: Parts): number {
  if (isTagAwaited(parts)) return 0;
  const left = parts.routing.isAwaited ? parts.share.leftEpoch : Number.POSITIVE_INFINITY;
  return Math.min(programmedEpoch(parts), left);
}
