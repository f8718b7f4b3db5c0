import { type IpAddress, sameIp } from '../base/address.ts';
import type { MacAddress } from '../base/mac.ts';
import { OperatingError } from '../base/operating-error.ts';
import { flowKey } from '../base/tcp-flow.ts';
import { slotOf } from '../space/partition.ts';
import type { Adopted, DataPlane, Fence, FlowCounters } from './data-plane.ts';
import { type Diversions, divertedBy, type FlowChange } from './diversions.ts';
import { type ForwardingTable, ownRow, type Row } from './forwarding-table.ts';
import { heldResetsBurst, heldResetsPerSecond } from './held-resets.ts';
import { icmpErrorTypes, type Packet, type ResetVerdict, type Verdict } from './packet.ts';
import { noFlows, nothingStays, seenMax, type UdpFlow } from './staying.ts';

/** A kernel in memory: executes the forwarding table packet by packet. Outlives the agent, as a kernel does. */
export interface FakeDataPlane extends DataPlane {
  judge(packet: Packet): Verdict;
  /** Link addresses of the hosts that a packet is copied to as well, when it goes up or a copy of it elsewhere. */
  copiesOf(packet: Packet): readonly MacAddress[];
  /** What becomes of a reset of an unknown connection of `client`. */
  judgeReset(client: IpAddress): ResetVerdict;
  /** Whether such a reset that was held back leaves, now that the agent lets it go. */
  letsGo(client: IpAddress): boolean;
  /** The row of a slot, whether a fence lasts or not. */
  row(slot: number): Row | undefined;
  isOpen(fence: Fence): boolean;
}

/** `now` is monotonic milliseconds of this kernel's own timers, by which fences end. */
export function createFakeDataPlane(now: () => number): FakeDataPlane {
  let table: ForwardingTable | null = null;
  let fences = createFences(now);
  let diversions: Diversions = new Map();
  let seen = createSeen(now);
  let counters = { ...noPackets };
  const count = (name: keyof FlowCounters): void => {
    counters[name]++;
  };
  const isOpen = (fence: Fence): boolean => fences.isOpen(fence);
  const speaksFor = (client: IpAddress): boolean => {
    const row = table?.rows.get(slotOf(table.service.partition, client));
    return table === null || (row?.kind === 'own' && isOpen('lease'));
  };
  let resets = createResets(now, speaksFor, count);

  return {
    isOpen,
    row: (slot) => table?.rows.get(slot),
    arm: (fence, mark, ms) => fences.arm(fence, mark, ms),
    grant: (fence, mark) => fences.grant(fence, mark),
    async apply(next: ForwardingTable): Promise<boolean> {
      const isNew = table === null;
      table = next;
      return isNew;
    },
    async divert(changes: readonly FlowChange[]): Promise<void> {
      if (!table) throw new OperatingError('nftables', 'there is no table to divert flows in');
      diversions = divertedBy(diversions, changes);
    },
    async adopt(): Promise<Adopted | null> {
      diversions = new Map();
      const staying = { ...(table?.staying ?? nothingStays), kept: noFlows };
      table = table && { ...table, staying };
      return table && { rows: table.rows, staying };
    },
    seen: async () => seen.list(),
    repair: async () => false,
    counters: async () => ({ ...counters }),
    async remove(): Promise<void> {
      table = null;
      fences = createFences(now);
      resets = createResets(now, speaksFor, count);
      diversions = new Map();
      seen = createSeen(now);
      counters = { ...noPackets };
    },
    judge(packet: Packet): Verdict {
      if (!table) return 'pass';
      const verdict = isDiverted(table, diversions, packet) ? 'hold' : verdictOf(table, isOpen, packet);
      if (verdict === 'local') seen.note(table, packet);
      if (verdict !== 'pass') count(counterOf[verdict]);
      return verdict;
    },
    copiesOf: (packet) => (table ? copiesOf(table, isOpen, packet) : []),
    judgeReset: (client) => resets.judge(client, table?.service.resetGroup !== undefined),
    letsGo: (client) => resets.letsGo(client),
  };
}

const counterOf = { local: 'accepted', relay: 'relayed', drop: 'dropped', hold: 'held' } as const;
const noPackets = {
  accepted: 0,
  relayed: 0,
  dropped: 0,
  resetsWithheld: 0,
  resetsAsked: 0,
  held: 0,
} satisfies FlowCounters;

/** What leaves of the resets of unknown connections, with a limit as of nft(8) to those that are asked about: tokens that come back with time. */
function createResets(
  now: () => number,
  speaksFor: (client: IpAddress) => boolean,
  count: (name: 'resetsWithheld' | 'resetsAsked') => void,
): { judge(client: IpAddress, isAsked: boolean): ResetVerdict; letsGo(client: IpAddress): boolean } {
  let tokens = heldResetsBurst;
  let at = now();
  const letsGo = (client: IpAddress): boolean => {
    if (speaksFor(client)) return true;
    count('resetsWithheld');
    return false;
  };
  return {
    letsGo,
    judge(client: IpAddress, isAsked: boolean): ResetVerdict {
      if (!letsGo(client)) return 'withheld';
      tokens = Math.min(heldResetsBurst, tokens + ((now() - at) * heldResetsPerSecond) / 1000);
      at = now();
      if (!isAsked || tokens < 1) return 'leaves';
      tokens--;
      count('resetsAsked');
      return 'asked';
    },
  };
}

/** Timed marks, and the ones that count. */
interface Fences extends Pick<DataPlane, 'arm' | 'grant'> {
  isOpen(fence: Fence): boolean;
}

function createFences(now: () => number): Fences {
  const armed = { lease: new Map<number, number>(), hold: new Map<number, number>() };
  const current: Record<Fence, number | null> = { lease: null, hold: null };
  return {
    arm(fence: Fence, mark: number, ms: number): void {
      // Those armed first end first.
      for (const [other, until] of armed[fence]) {
        if (until > now()) break;
        armed[fence].delete(other);
      }
      // A timed element that is added again is not extended.
      if (!armed[fence].has(mark)) armed[fence].set(mark, now() + ms);
    },
    grant(fence: Fence, mark: number | null): void {
      current[fence] = mark;
    },
    isOpen: (fence) => (armed[fence].get(current[fence] ?? 0) ?? 0) > now(),
  };
}

function isDiverted({ service }: ForwardingTable, diversions: Diversions, packet: Packet): boolean {
  const { source, sourcePort, destination, destinationPort, protocol, fragmentOffset = 0 } = packet;
  if (diversions.size === 0 || protocol !== 'tcp' || fragmentOffset > 0 || !sameIp(destination, service.address))
    return false;
  if (sourcePort === undefined || destinationPort === undefined) return false;
  const flow = { client: source, clientPort: sourcePort, servicePort: destinationPort };
  return diversions.has(flowKey(flow));
}

function verdictOf(table: ForwardingTable, isOpen: (fence: Fence) => boolean, packet: Packet): Verdict {
  const { service, rows } = table;
  if (!sameIp(packet.destination, service.address)) return 'pass';
  const fragment = (packet.fragmentOffset ?? 0) > 0;
  if (!fragment && isIcmpError(packet)) return 'local';
  const slot = slotOf(service.partition, packet.source);
  const row = rows.get(slot);
  if (!row) return 'drop';
  if (fragment) return isOpen('hold') ? 'local' : 'drop';
  if (packet.protocol !== 'icmp' && !isServed(service, packet)) return 'drop';
  if (packet.protocol === 'tcp' && !packet.opens) return isOpen('hold') ? 'local' : 'drop';
  return isOpen('lease') ? freshVerdict(row, slot, packet, table) : 'drop';
}

function copiesOf(table: ForwardingTable, isOpen: (fence: Fence) => boolean, packet: Packet): readonly MacAddress[] {
  const { service, rows } = table;
  const { fragmentOffset = 0, protocol, opens = false, relayedBy, about } = packet;
  const isError = fragmentOffset === 0 && isIcmpError(packet);
  const client = isError ? about : packet.source;
  const { holders = [] } = (client && rows.get(slotOf(service.partition, client))) ?? ownRow;
  if (relayedBy !== undefined || !sameIp(packet.destination, service.address)) return [];
  const verdict = verdictOf(table, isOpen, packet);
  const isOld = isError || fragmentOffset > 0 || (protocol === 'tcp' && !opens);
  return (verdict === 'local' && isOld) || (verdict === 'relay' && protocol === 'udp') ? holders : [];
}

function freshVerdict(row: Row, slot: number, packet: Packet, { staying = nothingStays }: ForwardingTable): Verdict {
  const udp = udpFlowOf(packet);
  const stays = (side: 'kept' | 'foreign'): boolean => udp !== null && staying[side].has(flowKey(udp));
  const isShut = packet.protocol === 'udp' && staying.shut.has(slot);
  if (stays('kept')) return 'local';
  // Where the others do not see the frames, they get those that are one of theirs.
  const isPassed = row.holders !== undefined && packet.relayedBy === undefined && packet.protocol === 'udp';
  const elsewhere = isPassed ? 'relay' : 'drop';
  if (row.kind === 'own' || row.kind === 'new') return isShut || stays('foreign') ? elsewhere : 'local';
  if (packet.protocol !== 'tcp') return row.kind === 'relay' ? elsewhere : 'drop';
  // One hop, always: what a peer relayed is never sent on again.
  if (row.kind === 'relay') return packet.relayedBy === undefined ? 'relay' : 'drop';
  return packet.relayedBy !== undefined && packet.relayedBy === row.peer ? 'local' : 'drop';
}

/** Flows of which a datagram was taken of late. */
interface Seen {
  note(table: ForwardingTable, packet: Packet): void;
  list(): readonly UdpFlow[];
}

function createSeen(now: () => number): Seen {
  const until = new Map<string, { readonly flow: UdpFlow; readonly at: number }>();
  const forget = (): void => {
    for (const [key, { at }] of until) if (at <= now()) until.delete(key);
  };
  return {
    note({ service: { udpIdleMs } }, packet): void {
      const flow = udpFlowOf(packet);
      if (udpIdleMs === undefined || flow === null) return;
      forget();
      if (until.size < seenMax || until.has(flowKey(flow))) until.set(flowKey(flow), { flow, at: now() + udpIdleMs });
    },
    list(): readonly UdpFlow[] {
      forget();
      return [...until.values()].map(({ flow }) => flow);
    },
  };
}

/** Null for what is not the first fragment of a datagram. */
function udpFlowOf({ protocol, source, sourcePort, destinationPort, fragmentOffset = 0 }: Packet): UdpFlow | null {
  if (protocol !== 'udp' || fragmentOffset > 0 || sourcePort === undefined || destinationPort === undefined)
    return null;
  return { client: source, clientPort: sourcePort, servicePort: destinationPort };
}

function isServed({ ports }: ForwardingTable['service'], packet: Packet): boolean {
  return ports.some(({ protocol, port }) => protocol === packet.protocol && port === packet.destinationPort);
}

function isIcmpError(packet: Packet): boolean {
  return packet.protocol === 'icmp' && Object.values<number>(icmpErrorTypes).includes(packet.icmpType ?? -1);
}
