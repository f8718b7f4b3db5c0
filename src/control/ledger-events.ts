import type { Ledger } from '../wire/ledger.ts';
import type { ControlEvent } from './io.ts';

/** What a person wants to know when `after` comes into force in the place of `before`. */
export function changeEvents(before: Ledger | null, after: Ledger): ControlEvent[] {
  const { epoch, by, cause, owners } = after;
  const changed = owners.filter((owner, slot) => owner !== (before?.owners[slot] ?? null)).length;
  return [{ kind: 'ledger', epoch, by, changed, cause, owners }, ...moveEvents(before, after)];
}

function moveEvents(before: Ledger | null, after: Ledger): ControlEvent[] {
  const earlier = new Map(before?.moves.map((move) => [move.id, move]));
  const now = new Set(after.moves.map((move) => move.id));
  const ended = [...earlier.values()].filter((move) => !now.has(move.id));
  const entered = after.moves.filter((move) => earlier.get(move.id)?.phase !== move.phase);
  return [
    ...ended.map(({ id, slots, from, to }): ControlEvent => ({ kind: 'move', id, slots, from, to, phase: 'done' })),
    ...entered.map(({ id, slots, from, to, phase }): ControlEvent => ({ kind: 'move', id, slots, from, to, phase })),
  ];
}
