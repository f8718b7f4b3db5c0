import { sameIp } from '../base/address.ts';
import { slotOf } from '../space/partition.ts';
import type { DataPlane, DataPlaneCounters } from './data-plane.ts';
import type { ForwardingTable } from './forwarding-table.ts';
import { icmpErrorTypes, type Packet, type Verdict } from './packet.ts';

/** A kernel in memory: executes the forwarding table packet by packet. */
export interface FakeDataPlane extends DataPlane {
  judge(packet: Packet): Verdict;
}

/** `now` is monotonic milliseconds, by which leases end. */
export function createFakeDataPlane(now: () => number): FakeDataPlane {
  let table: ForwardingTable | null = null;
  let current = 0;
  const armed = new Map<number, number>();
  const counters = { accepted: 0, dropped: 0 };
  return {
    arm(mark: number, leaseMs: number): void {
      armed.set(mark, now() + leaseMs);
    },
    grant(mark: number): void {
      current = mark;
    },
    async apply(next: ForwardingTable): Promise<void> {
      table = next;
    },
    async repair(): Promise<boolean> {
      return false;
    },
    async counters(): Promise<DataPlaneCounters> {
      return { ...counters };
    },
    async remove(): Promise<void> {
      table = null;
      current = 0;
      armed.clear();
      counters.accepted = 0;
      counters.dropped = 0;
    },
    judge(packet: Packet): Verdict {
      const leased = (armed.get(current) ?? 0) > now();
      const verdict = table ? verdictOf(table, leased, packet) : 'pass';
      if (verdict === 'local') counters.accepted++;
      if (verdict === 'drop') counters.dropped++;
      return verdict;
    },
  };
}

function verdictOf(table: ForwardingTable, leased: boolean, packet: Packet): Verdict {
  const { service, rows } = table;
  if (!sameIp(packet.destination, service.address)) return 'pass';
  const fragment = (packet.fragmentOffset ?? 0) > 0;
  if (!fragment && isIcmpError(packet)) return 'local';
  if (!leased || !rows.has(slotOf(service.partition, packet.source))) return 'drop';
  if (fragment || packet.protocol === 'icmp') return 'local';
  const served = service.ports.some(
    (port) => port.protocol === packet.protocol && port.port === packet.destinationPort,
  );
  return served ? 'local' : 'drop';
}

function isIcmpError(packet: Packet): boolean {
  return packet.protocol === 'icmp' && Object.values<number>(icmpErrorTypes).includes(packet.icmpType ?? -1);
}
