import { createFakeDataPlane } from '../dataplane/fake.ts';
import { nothingStays } from '../dataplane/staying.ts';
import { monotonicClock } from '../platform/monotonic-clock.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import type { TakenHost } from './host.ts';
import type { Segment } from './segment.ts';

/** A witness votes and serves nothing: it does nothing to its host. Its table in memory stays empty, and it is on no segment. */
export function witnessHost(): { readonly host: TakenHost; readonly segment: Segment; readonly flows: FlowTable } {
  return {
    host: {
      dataPlane: createFakeDataPlane(() => monotonicClock.now()),
      setup: { prepare() {}, repair: () => [], undo() {} },
      adopted: { rows: new Map(), staying: nothingStays },
      release: async () => {},
    },
    // It cannot ask whether a host is there; so a silent holder keeps what it has until the drain deadline.
    segment: { announce() {}, probe() {}, close: async () => {} },
    flows: { list: () => [], find: () => [], destroy: () => 0 },
  };
}
