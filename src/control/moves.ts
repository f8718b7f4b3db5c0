import type { Claim } from '../wire/control-message.ts';
import { type Holder, type Ledger, ledgerBounds, type Move } from '../wire/ledger.ts';

type Owners = readonly (string | null)[];

/** The part of a ledger that says who owns what, and who may still hold flows of it. */
export type Allocation = Pick<Ledger, 'owners' | 'moves' | 'nextMoveId' | 'holders' | 'unfinished'>;

/** What moves depend on besides the allocation. */
export interface Hosts {
  /** Its kernel takes nothing new any more, whatever its rows. */
  gone(name: string): boolean;
  /** Number of the host's life as the ledger knows it. */
  bootOf(name: string): number;
  /** Routers may send it what is being left to it already, and it can take that. Absent: there are no routers. */
  sent?(name: string): boolean;
}

/** Owners as they will be when all moves are done; slots of nobody in `members` are null. */
export function intendedOwners(ledger: Allocation, members: readonly string[]): (string | null)[] {
  const present = new Set(members);
  const intended = ledger.owners.map((owner) => (owner !== null && present.has(owner) ? owner : null));
  for (const move of ledger.moves) if (present.has(move.to)) for (const slot of move.slots) intended[slot] = move.to;
  return intended;
}

/**
 * The moves from `ledger` to the owners in `target`. A slot whose owner is gone changes hands at once, as its kernel takes nothing new any more; any other is
 * prepared first. Moves under way that `target` still wants go on. Before phase `owned` a move is simply given up: the new owner has only relayed, and what
 * it relays the old one takes. In phase `owned` it is finished first; and in phase `leave` where there are routers, which would go on for a while to send packets to a host that passes them to nobody any more.
 */
export function redirect(ledger: Allocation, target: Owners, epoch: number, hosts: Hosts): Allocation {
  const owners = [...ledger.owners];
  const underWay = moveBySlot(ledger.moves);
  const kept = new Map<number, number[]>();
  const taken = new Map<string, number[]>();
  const fresh = new Map<string, Omit<Move, 'id' | 'slots'> & { slots: number[] }>();
  const keep = (move: Move, slot: number) => append(kept, move.id, slot);
  let unfinished = false;
  const begin = (phase: Move['phase'], from: string, to: string, slot: number): void => {
    const key = `${phase} ${from} ${to}`;
    if (!fresh.has(key) && fresh.size + ledger.moves.length >= ledgerBounds.moves) {
      unfinished = true;
      return;
    }
    const move = fresh.get(key) ?? { phase, from, to, since: epoch, slots: [] };
    move.slots.push(slot);
    fresh.set(key, move);
  };
  const room = heldSlots(ledger.holders) + ledger.owners.length <= ledgerBounds.heldSlots;

  for (const [slot, owner] of ledger.owners.entries()) {
    const wanted = target[slot] ?? owner;
    const move = underWay.get(slot);
    if (owner !== null && wanted !== owner && hosts.gone(owner)) {
      owners[slot] = wanted;
      append(taken, owner, slot);
      if (wanted !== null) begin('owned', owner, wanted, slot);
    } else if (owner === null) {
      owners[slot] = wanted;
    } else if (move && (move.phase === 'owned' || (move.phase === 'leave' && hosts.sent?.(move.to)))) {
      keep(move, slot);
      if (wanted !== move.to) unfinished = true;
    } else if (wanted !== null && wanted !== owner) {
      if (move?.to === wanted) keep(move, slot);
      else if (room) begin('prepare', owner, wanted, slot);
      else unfinished = true;
    }
  }
  let { nextMoveId } = ledger;
  const begun = [...fresh.values()].map((move) => ({ ...move, id: nextMoveId++ }));
  const goingOn = ledger.moves.flatMap((move) => {
    const slots = kept.get(move.id);
    return slots ? [{ ...move, slots }] : [];
  });
  const holders = withHolders(ledger.holders, owners, taken, epoch, hosts);
  return { owners, moves: [...goingOn, ...begun], nextMoveId, holders, unfinished };
}

/**
 * Each move one phase on whose kernels have confirmed its last; null when none has. `programmed` is the epoch whose rows a kernel has, `routed` the same, and that up to which
 * routers do as the ledgers say with what it gives away.
 */
export function advance(
  ledger: Allocation,
  epoch: number,
  hosts: Hosts & { programmed(name: string): number; routed(name: string): number },
): Allocation | null {
  const confirmed = ({ phase, from, to, since }: Move): boolean => {
    const { programmed, routed } = hosts;
    const awaited = {
      prepare: [programmed(from), programmed(to)],
      leave: [routed(from)],
      owned: [programmed(to)],
    }[phase];
    return awaited.every((epoch) => epoch >= since);
  };
  if (!ledger.moves.some(confirmed)) return null;
  const owners = [...ledger.owners];
  const moves: Move[] = [];
  const left = new Map<string, number[]>();
  for (const move of ledger.moves) {
    if (!confirmed(move)) {
      moves.push(move);
    } else if (move.phase === 'prepare') {
      moves.push({ ...move, phase: 'leave', since: epoch });
    } else if (move.phase === 'leave') {
      for (const slot of move.slots) {
        owners[slot] = move.to;
        append(left, move.from, slot);
      }
      moves.push({ ...move, phase: 'owned', since: epoch });
    }
  }
  const holders = withHolders(ledger.holders, owners, left, epoch, hosts);
  return { owners, moves, nextMoveId: ledger.nextMoveId, holders, unfinished: ledger.unfinished };
}

/** Without the slots for which `ended` says that the holder has no flow any more; null when that changes nothing. */
export function settle(ledger: Allocation, ended: (holder: Holder, slot: number) => boolean): Allocation | null {
  if (!ledger.holders.some((holder) => holder.slots.some((slot) => ended(holder, slot)))) return null;
  const holders = ledger.holders.flatMap((holder) => {
    const slots = holder.slots.filter((slot) => !ended(holder, slot));
    return slots.length > 0 ? [slots.length < holder.slots.length ? { ...holder, slots } : holder] : [];
  });
  const { owners, moves, nextMoveId, unfinished } = ledger;
  return { owners, moves, nextMoveId, holders, unfinished };
}

/** With those among the holders who claim to hold flows of slots that they neither own nor hold already; null when that changes nothing. */
export function reinstate(
  ledger: Allocation,
  claims: readonly (Claim & { readonly name: string })[],
  epoch: number,
): Allocation | null {
  const claimed = new Map<string, readonly number[]>();
  for (const { name, boot, slots } of claims) {
    const held = ledger.holders.filter((holder) => holder.name === name && holder.boot === boot);
    const already = new Set(held.flatMap((holder) => holder.slots));
    const missing = slots.filter((slot) => ledger.owners[slot] !== name && !already.has(slot));
    if (missing.length > 0) claimed.set(name, missing);
  }
  if (claimed.size === 0) return null;
  const boots = new Map(claims.map(({ name, boot }) => [name, boot]));
  const hosts = { bootOf: (name: string) => boots.get(name) ?? 0 };
  const { owners, moves, nextMoveId, unfinished } = ledger;
  const holders = withHolders(ledger.holders, owners, claimed, epoch, hosts);
  return heldSlots(holders) > heldSlots(ledger.holders) ? { owners, moves, nextMoveId, holders, unfinished } : null;
}

/**
 * The holders once the hosts named in `left` have given those slots away in `epoch`. An owner is no holder, and one host holds a slot once. Where the ledger has no
 * room, a slot settles early.
 */
function withHolders(
  before: readonly Holder[],
  owners: Owners,
  left: ReadonlyMap<string, readonly number[]>,
  epoch: number,
  { bootOf }: Pick<Hosts, 'bootOf'>,
): readonly Holder[] {
  const now = new Map([...left].map(([name, slots]) => [name, { boot: bootOf(name), slots: new Set(slots) }]));
  const kept = before.flatMap((holder) => {
    const again = now.get(holder.name);
    const slots = holder.slots.filter(
      (slot) => owners[slot] !== holder.name && !(again?.boot === holder.boot && again.slots.has(slot)),
    );
    if (slots.length === holder.slots.length) return [holder];
    return slots.length > 0 ? [{ ...holder, slots }] : [];
  });
  const added = [...now].map(([name, { boot, slots }]) => ({
    name,
    boot,
    since: epoch,
    slots: [...slots].sort(ascending),
  }));
  const holders = [...kept];
  for (const each of added) {
    const fits =
      holders.length < ledgerBounds.holders && heldSlots(holders) + each.slots.length <= ledgerBounds.heldSlots;
    if (fits) holders.push(each);
  }
  return holders;
}

function heldSlots(holders: readonly Holder[]): number {
  return holders.reduce((sum, { slots }) => sum + slots.length, 0);
}

function moveBySlot(moves: readonly Move[]): Map<number, Move> {
  const bySlot = new Map<number, Move>();
  for (const move of moves) for (const slot of move.slots) bySlot.set(slot, move);
  return bySlot;
}

function ascending(a: number, b: number): number {
  return a - b;
}

function append<Key>(lists: Map<Key, number[]>, key: Key, value: number): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}
