import { ipBytes } from '../base/address.ts';
import type { Fence } from './data-plane.ts';
import type { ServiceEntry } from './forwarding-table.ts';

/** What becomes of the elements of one set or map: first all go, if `flush`, then one comes. */
export interface ElementChange {
  readonly family: 'ip' | 'netdev';
  readonly table: string;
  readonly set: string;
  readonly flush: boolean;
  readonly add: NewElement | null;
}

/** Bytes as the kernel compares them: addresses in network order, marks in that of the host. */
export interface NewElement {
  readonly key: Uint8Array;
  /** Of a map. */
  readonly data?: Uint8Array;
  /** Absent: it stays. */
  readonly timeoutMs?: number;
}

/** Changes that start the fence of a mark. A timed element that is added again is not extended, so every fence has a mark of its own. */
export function armChanges(table: string, fence: Fence, mark: number, ms: number): ElementChange[] {
  return familiesOf(fence).map((family) => ({
    ...{ family, table, set: `armed_${fence}`, flush: false },
    add: { key: hostNumber(mark), timeoutMs: Math.round(ms) },
  }));
}

/** Changes that make the fence of a mark the one that counts; no packet finds the map empty in between. */
export function grantChanges(service: ServiceEntry, table: string, fence: Fence, mark: number | null): ElementChange[] {
  return familiesOf(fence).map((family) => ({
    ...{ family, table, set: fence, flush: true },
    add: mark === null ? null : { key: ipBytes(service.address), data: hostNumber(mark) },
  }));
}

/** Nothing but resets is looked at on the way out, and those by the lease alone. */
function familiesOf(fence: Fence): readonly ('ip' | 'netdev')[] {
  return fence === 'lease' ? ['netdev', 'ip'] : ['netdev'];
}

function hostNumber(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}
