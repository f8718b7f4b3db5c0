import type { IpAddress } from '../base/address.ts';
import { flowKey } from '../base/tcp-flow.ts';

/** What a client's datagrams have in common that belong together: from one address and port to one port of the service. */
export interface UdpFlow {
  readonly client: IpAddress;
  readonly clientPort: number;
  readonly servicePort: number;
}

/** Flows by `flowKey`. */
export type UdpFlows = ReadonlyMap<string, UdpFlow>;

/**
 * Flows of UDP that stay with the host that answered them before their slot moved. `kept`: they stay here; every row takes them under the lease. `foreign`: they
 * stay elsewhere; rows `own` and `new` drop them. `shut`: slots of whose flows it is not known yet where they stay; rows `own` and `new` drop all their UDP.
 */
export interface Staying {
  readonly kept: UdpFlows;
  readonly foreign: UdpFlows;
  readonly shut: ReadonlySet<number>;
}

export const noFlows: UdpFlows = new Map();
export const noSlots: ReadonlySet<number> = new Set();
export const nothingStays: Staying = { kept: noFlows, foreign: noFlows, shut: noSlots };

/** As many flows as a kernel remembers to have taken of late. Those beyond are taken, and not remembered. */
export const seenMax = 65_536;

export function udpFlowsOf(flows: Iterable<UdpFlow>): UdpFlows {
  return new Map(Array.from(flows, (flow) => [flowKey(flow), flow]));
}

export function sameStaying(a: Staying, b: Staying): boolean {
  return sameKeys(a.kept, b.kept) && sameKeys(a.foreign, b.foreign) && sameKeys(a.shut, b.shut);
}

export function sameKeys<Key>(a: ReadonlyMap<Key, unknown> | ReadonlySet<Key>, b: typeof a): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const key of a.keys()) if (!b.has(key)) return false;
  return true;
}
