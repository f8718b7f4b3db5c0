import { formatSlots } from '../space/index.ts';
import type { DriverEvent } from './driver.ts';
import { slotsByOwner } from './shares.ts';

/** An event as it leaves the agent; `at`, `begin` and `end` are Unix milliseconds with fractions. */
export type EventLine = Readonly<Record<string, unknown>> & { readonly type: string };

/** More watchers than this are refused. */
const watchersMax = 16;

/** Tells watchers what happens, beginning with what is so already. */
export interface EventLog {
  record(event: DriverEvent): void;
  /** False when there are too many watchers already. */
  watch(say: (line: EventLine) => void, closed: AbortSignal): boolean;
}

export function createEventLog(unixMsOf: (at: number) => number, now: () => number): EventLog {
  const watchers = new Set<(line: EventLine) => void>();
  const newest = new Map<string, EventLine>();
  return {
    record(event: DriverEvent): void {
      const line = lineOf(event, unixMsOf, now());
      if (event.kind === 'table' || event.kind === 'ledger') newest.set(event.kind, line);
      for (const say of watchers) say(line);
    },
    watch(say: (line: EventLine) => void, closed: AbortSignal): boolean {
      if (watchers.size >= watchersMax) return false;
      for (const line of newest.values()) say(line);
      watchers.add(say);
      closed.addEventListener('abort', () => watchers.delete(say), { once: true });
      return true;
    },
  };
}

function lineOf(event: DriverEvent, unixMsOf: (at: number) => number, now: number): EventLine {
  const at = unixMsOf(now);
  switch (event.kind) {
    case 'table':
      return {
        type: 'table',
        begin: unixMsOf(event.begin),
        end: unixMsOf(event.end),
        slots: formatSlots(event.slots),
      };
    case 'ledger': {
      const { epoch, by, changed, cause, owners } = event;
      const shares = [...slotsByOwner(owners)].map(([name, slots]) => ({ name, slots: formatSlots(slots) }));
      return { type: 'ledger', at, epoch, by, changed, cause, owners: shares };
    }
    case 'reset':
      return { type: 'reset', at, connections: event.connections, slots: formatSlots(event.slots) };
    case 'move':
      return {
        type: 'move',
        at,
        id: event.id,
        slots: formatSlots(event.slots),
        from: event.from,
        to: event.to,
        phase: event.phase,
      };
    case 'failure':
      return { type: 'failure', at, doing: event.doing, error: String(event.error) };
    default: {
      const { kind, ...rest } = event;
      return { type: kind, at, ...rest };
    }
  }
}
