import { setTimeout as delay } from 'node:timers/promises';
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import { askAgent } from '../platform/agent-client.ts';
import { type Partition, parseSlots } from '../space/index.ts';
import type { TableRecord } from './records.ts';

const retryMs = 20;

/** What a replica's kernel accepts, as its agents tell, from now until `signal`: an agent that ends may be followed by another on the same socket. */
export async function watchTables(
  socket: string,
  replica: string,
  partition: Partition,
  onTable: (table: TableRecord) => void,
  signal: AbortSignal,
): Promise<void> {
  let newest = Number.NEGATIVE_INFINITY;
  while (!signal.aborted) {
    try {
      for await (const line of askAgent(socket, 'GET', '/v1/events', '', signal)) {
        // Whoever connects is told first what is so already.
        if (line.type !== 'table' || Number(line.end) <= newest) continue;
        newest = Number(line.end);
        const slots = parseSlots(String(line.slots), partition.slotCount);
        onTable({
          replica,
          begin: Number(line.begin),
          end: newest,
          slots: new Set(defined(slots.ok ? slots.value : null, 'slots that exist')),
        });
      }
    } catch (error) {
      // The agent has ended, or has not begun: whether it should live is looked at in the end.
      if (!(error instanceof OperatingError) && !signal.aborted) throw error;
    }
    await delay(retryMs, undefined, { signal }).catch(() => {});
  }
}
