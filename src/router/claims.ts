import { type IpAddress, sameIp } from '../base/address.ts';
import type { AcceptedJoin } from './join-checks.ts';

/** Where the packets of a slot go. */
export interface Owner {
  readonly address: IpAddress;
  readonly link: string;
}

export function sameOwner(a: Owner, b: Owner): boolean {
  return a.link === b.link && sameIp(a.address, b.address);
}

/** What one member of a group says by its joins so far. The order in which they came makes no difference. */
export class Claims implements Owner {
  address: IpAddress;
  link: string;
  epoch = -1;
  slots: readonly number[] = [];
  isLeave = false;
  #timeMs = -1;
  #text = '';
  /** By slot, the earliest time at which it was claimed in this epoch. */
  #sinceMs = new Map<number, number>();

  constructor({ address, link }: Owner) {
    this.address = address;
    this.link = link;
  }

  /** `slots` are those of the join's filters, ascending. True when what the member claims may have changed. */
  take(join: AcceptedJoin, slots: readonly number[]): boolean {
    if (join.epoch < this.epoch) return false;
    if (this.#isMereRefresh(join, slots)) {
      this.#timeMs = join.timeMs;
      return false;
    }
    const isNewEpoch = join.epoch > this.epoch;
    if (isNewEpoch) this.#sinceMs = new Map();
    let isEarlier = false;
    for (const slot of slots) {
      const since = this.#sinceMs.get(slot);
      if (since !== undefined && since <= join.timeMs) continue;
      this.#sinceMs.set(slot, join.timeMs);
      isEarlier = true;
    }
    const text = `${join.address.value} ${join.link} ${join.isLeave} ${slots.join()}`;
    const isNewest = isNewEpoch || join.timeMs > this.#timeMs || (join.timeMs === this.#timeMs && text > this.#text);
    if (!isNewest) return isEarlier;
    const isChanged = isNewEpoch || isEarlier || text !== this.#text;
    const { address, link, epoch, isLeave } = join;
    Object.assign(this, { address, link, epoch, isLeave, slots });
    this.#timeMs = join.timeMs;
    this.#text = text;
    return isChanged;
  }

  /** The same again, later: what most joins are. */
  #isMereRefresh({ epoch, timeMs, isLeave, link, address }: AcceptedJoin, slots: readonly number[]): boolean {
    const isSame = epoch === this.epoch && slots === this.slots && isLeave === this.isLeave;
    return isSame && timeMs > this.#timeMs && link === this.link && sameIp(address, this.address);
  }

  /** Whether this member's claim to a slot that both claim goes before the other's: the newer epoch, of one epoch the older claim. */
  goesBefore(other: Claims, slot: number): boolean {
    if (this.epoch !== other.epoch) return this.epoch > other.epoch;
    const [mine, others] = [this.#sinceMs.get(slot) ?? 0, other.#sinceMs.get(slot) ?? 0];
    // Claims of one instant: two routers must choose the same.
    return mine === others ? this.address.value < other.address.value : mine < others;
  }
}
