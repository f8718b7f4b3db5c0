import { sameIp } from '../base/address.ts';
import { type Partition, slotOf } from '../space/partition.ts';
import type { Flow } from './flow.ts';

/**
 * Those among `flows` that are of `slots`: to the service's TCP ports, from clients of these slots. What a host asks of itself, such as a health check, is of none: it comes from the
 * service address, never leaves the host and goes to no other.
 */
export function flowsOfSlots<F extends Flow>(
  flows: readonly F[],
  partition: Partition,
  slots: ReadonlySet<number>,
  servicePorts: readonly number[],
): F[] {
  return flows.filter(
    (flow) =>
      servicePorts.includes(flow.servicePort) &&
      !sameIp(flow.client, flow.service) &&
      flow.client.family === partition.mask.family &&
      slots.has(slotOf(partition, flow.client)),
  );
}
