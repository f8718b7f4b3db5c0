import { type Ledger, ledgerBounds, type Move } from '../wire/ledger.ts';

type Owners = readonly (string | null)[];

/** The part of a ledger that says who owns what. */
export type Allocation = Pick<Ledger, 'owners' | 'moves' | 'nextMoveId'>;

/** The slots that the kernel of `node` accepts under `ledger`; over all nodes each slot comes at most once. */
export function acceptedSlots(ledger: Allocation, node: string): Set<number> {
  const accepted = new Set<number>();
  for (const [slot, owner] of ledger.owners.entries()) if (owner === node) accepted.add(slot);
  for (const move of ledger.moves) if (move.phase === 'leave') for (const slot of move.slots) accepted.delete(slot);
  return accepted;
}

/** Owners as they will be when all moves are done; slots of nobody in `members` are null. */
export function intendedOwners(ledger: Allocation, members: readonly string[]): (string | null)[] {
  const present = new Set(members);
  const intended = ledger.owners.map((owner) => (owner !== null && present.has(owner) ? owner : null));
  for (const move of ledger.moves) if (present.has(move.to)) for (const slot of move.slots) intended[slot] = move.to;
  return intended;
}

/**
 * The moves from `ledger` to the owners in `target`. A slot whose owner is gone changes hands at once, as its kernel
 * accepts nothing any more; any other first leaves its owner. Moves under way that `target` still wants go on, the
 * others are cancelled or turned: until phase `owned` the new owner has not accepted the slot.
 */
export function redirect(
  ledger: Allocation,
  target: Owners,
  epoch: number,
  gone: (name: string) => boolean,
): Allocation {
  const owners = [...ledger.owners];
  const underWay = moveBySlot(ledger.moves);
  const kept = new Map<number, number[]>();
  const fresh = new Map<string, Omit<Move, 'id' | 'slots'> & { slots: number[] }>();
  const keep = (move: Move, slot: number) => append(kept, move.id, slot);
  const begin = (phase: Move['phase'], from: string, to: string, slot: number): boolean => {
    const key = `${phase} ${from} ${to}`;
    if (!fresh.has(key) && fresh.size + ledger.moves.length >= ledgerBounds.moves) return false;
    const move = fresh.get(key) ?? { phase, from, to, since: epoch, slots: [] };
    move.slots.push(slot);
    fresh.set(key, move);
    return true;
  };

  for (const [slot, owner] of ledger.owners.entries()) {
    const wanted = target[slot] ?? owner;
    const move = underWay.get(slot);
    if (owner === wanted) {
      if (move?.phase === 'owned') keep(move, slot);
    } else if (wanted === null) {
      owners[slot] = null;
    } else if (owner === null || gone(owner)) {
      owners[slot] = wanted;
      if (owner !== null) begin('owned', owner, wanted, slot);
    } else if (move?.phase === 'leave' && move.to === wanted) {
      keep(move, slot);
    } else if (!begin('leave', owner, wanted, slot) && move?.phase === 'owned') {
      keep(move, slot);
    }
  }
  let { nextMoveId } = ledger;
  const begun = [...fresh.values()].map((move) => ({ ...move, id: nextMoveId++ }));
  const goingOn = ledger.moves.flatMap((move) => {
    const slots = kept.get(move.id);
    return slots ? [{ ...move, slots }] : [];
  });
  return { owners, moves: [...goingOn, ...begun], nextMoveId };
}

/** Each move one phase on whose kernel has confirmed its last; null when none has. `programmed` is the epoch a kernel confirmed. */
export function advance(ledger: Allocation, epoch: number, programmed: (name: string) => number): Allocation | null {
  const confirmed = (move: Move) => programmed(move.phase === 'leave' ? move.from : move.to) >= move.since;
  if (!ledger.moves.some(confirmed)) return null;
  const owners = [...ledger.owners];
  const moves: Move[] = [];
  for (const move of ledger.moves) {
    if (!confirmed(move)) {
      moves.push(move);
    } else if (move.phase === 'leave') {
      for (const slot of move.slots) owners[slot] = move.to;
      moves.push({ ...move, phase: 'owned', since: epoch });
    }
  }
  return { owners, moves, nextMoveId: ledger.nextMoveId };
}

function moveBySlot(moves: readonly Move[]): Map<number, Move> {
  const bySlot = new Map<number, Move>();
  for (const move of moves) for (const slot of move.slots) bySlot.set(slot, move);
  return bySlot;
}

function append(lists: Map<number, number[]>, key: number, value: number): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}
