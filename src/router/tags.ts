import { flowKey } from '../base/tcp-flow.ts';
import { type Partition, slotOf } from '../space/partition.ts';
import type { TagsSaid } from '../wire/tagged-flows.ts';
import { type Owner, sameOwner } from './claims.ts';
import type { Owners } from './memberships.ts';

/** Where the TCP flows go that do not go to the owner of their slot, by `flowKey`. */
export type FlowTags = ReadonlyMap<string, Owner>;

export interface TagLimits {
  /** Of all members together. */
  readonly flowsMax: number;
  /** What a member does not say again ends after so long. */
  readonly lastsMs: number;
  /** For so long after a slot went to another, its owner before may name flows of it. */
  readonly formerMs: number;
}

export const tagLimits: TagLimits = { flowsMax: 65_536, lastsMs: 3000, formerMs: 30_000 };

interface Told {
  readonly session: number;
  readonly number: number;
  readonly flows: FlowTags;
  untilMs: number;
}

/**
 * Handoff `tag` (figure 16): flows of one service that go on to the member that holds them while their slot is another's. Soft state, as memberships: a member says its flows again and
 * again, all of them. It may name flows of slots that it owns, or owned a moment ago, by its joins, and none that another has named: it draws nothing to itself that was not
 * sent to it before.
 */
export class Tags {
  readonly #partition: Partition;
  readonly #limits: TagLimits;
  readonly #told = new Map<string, Told>();
  /** What an earlier process has left in the kernel: its members have not been heard by this one. */
  #left: { readonly flows: FlowTags; readonly untilMs: number };
  #owners: Owners = new Map();
  readonly #former = new Map<number, readonly { readonly owner: Owner; readonly untilMs: number }[]>();
  /** Null when it is to be put together anew. */
  #standing: FlowTags | null = null;

  /** `left` stands until `leftUntilMs`, or until its members name their flows anew. */
  constructor(partition: Partition, left: FlowTags, leftUntilMs: number, limits = tagLimits) {
    this.#partition = partition;
    this.#limits = limits;
    this.#left = { flows: left, untilMs: leftUntilMs };
  }

  /** When `standing` is to be asked again, if nothing is told before. */
  get nextMs(): number {
    let next = this.#left.flows.size > 0 ? this.#left.untilMs : Infinity;
    for (const { untilMs } of this.#told.values()) next = Math.min(next, untilMs);
    return next;
  }

  /** These own the slots now. */
  own(owners: Owners, nowMs: number): void {
    if (owners === this.#owners) return;
    for (const [slot, owner] of this.#owners) {
      const now = owners.get(slot);
      if (now && sameOwner(now, owner)) continue;
      const others = (this.#former.get(slot) ?? []).filter(
        (each) => nowMs < each.untilMs && !sameOwner(each.owner, owner),
      );
      this.#former.set(slot, [...others, { owner, untilMs: nowMs + this.#limits.formerMs }]);
    }
    this.#owners = owners;
  }

  /** What a member of the control channel says, whose join says where it is. Flows that are not its to name, or for which there is no room, are left out. */
  tell(name: string, at: Owner, session: number, { number, isWhole, flows }: TagsSaid, nowMs: number): void {
    const before = this.#told.get(name);
    const isSameSession = before?.session === session;
    if (before && (session < before.session || (isSameSession && number < before.number))) return;
    const untilMs = nowMs + this.#limits.lastsMs;
    if (before && isSameSession && number === before.number) before.untilMs = untilMs;
    else if (isWhole) {
      const standing = this.#all();
      this.#told.delete(name);
      const room = this.#limits.flowsMax - [...this.#told.values()].reduce((sum, each) => sum + each.flows.size, 0);
      const own = flows.filter((flow) => {
        const stands = standing.get(flowKey(flow));
        return stands ? sameOwner(stands, at) : this.#isOrWasOwner(at, slotOf(this.#partition, flow.client), nowMs);
      });
      const named = new Map(own.slice(0, room).map((flow) => [flowKey(flow), at]));
      this.#told.set(name, { session, number, flows: named, untilMs });
      this.#takeOver(at);
    }
  }

  /** What stands of a member's words; zeros for nothing. */
  said(name: string): { readonly session: number; readonly number: number } {
    const { session, number } = this.#told.get(name) ?? { session: 0, number: 0 };
    return { session, number };
  }

  /** The same map as long as nothing has changed. `members` are those whose joins are known, be it that they own nothing. */
  standing(members: ReadonlyMap<string, unknown>, nowMs: number): FlowTags {
    for (const [name, { untilMs }] of this.#told) {
      if (members.has(name) && nowMs < untilMs) continue;
      this.#told.delete(name);
      this.#standing = null;
    }
    if (this.#left.flows.size > 0 && nowMs >= this.#left.untilMs) this.#leave(new Map());
    return this.#all();
  }

  /** A member has named its flows: what an earlier process had of it says no more. */
  #takeOver(at: Owner): void {
    this.#leave(new Map([...this.#left.flows].filter(([, owner]) => !sameOwner(owner, at))));
  }

  #leave(flows: FlowTags): void {
    this.#left = { ...this.#left, flows };
    this.#standing = null;
  }

  #all(): FlowTags {
    this.#standing ??= new Map([...this.#left.flows, ...[...this.#told.values()].flatMap(({ flows }) => [...flows])]);
    return this.#standing;
  }

  #isOrWasOwner(at: Owner, slot: number, nowMs: number): boolean {
    const owner = this.#owners.get(slot);
    if (owner && sameOwner(owner, at)) return true;
    const former = this.#former.get(slot) ?? [];
    return former.some((each) => nowMs < each.untilMs && sameOwner(each.owner, at));
  }
}
