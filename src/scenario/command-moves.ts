import type { Ownership } from './ownership.ts';
import type { RunRecords, StepRecord } from './records.ts';

/** Steps that change who owns a slot, and nothing else. */
export const movingSteps: readonly StepRecord['what'][] = ['policy', 'move', 'drain', 'undrain'];

/** How often the slot of its client changed its owner by a step of the timeline while a command ran: the least of all commands, 0 without one. */
export function commandMoves(
  { commands, steps, end }: RunRecords,
  ownership: Ownership,
  slotOfClient: (client: string) => number,
): number {
  const moves = commands.map(({ client, began, at: ended }) => {
    const slot = slotOfClient(client);
    return steps.filter(({ what, at }, i) => {
      const until = Math.min(ended, steps[i + 1]?.at ?? end);
      if (!movingSteps.includes(what) || at < began || at > until) return false;
      return ownership.ownerAt(slot, at) !== ownership.ownerAt(slot, until);
    }).length;
  });
  return commands.length === 0 ? 0 : Math.min(...moves);
}
