import { describe, expect, test } from 'vitest';
import { type IpAddress, addressOf as ip } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import type { MacAddress } from '../../src/base/mac.ts';
import type { Adopted, Fence, FlowCounters } from '../../src/dataplane/data-plane.ts';
import type { FlowChange } from '../../src/dataplane/diversions.ts';
import {
  type Delivery,
  type ForwardingTable,
  newRow,
  ownRow,
  type Row,
  type Rows,
  type ServiceEntry,
} from '../../src/dataplane/forwarding-table.ts';
import type { Packet, ResetVerdict, Verdict } from '../../src/dataplane/packet.ts';
import type { UdpFlow } from '../../src/dataplane/staying.ts';
import { partitionOf } from '../../src/space/partition.ts';

export { ip };

/** A data plane under test: the table is applied, then packets arrive one at a time. */
export interface JudgedDataPlane {
  apply(table: ForwardingTable): Promise<void>;
  arm(fence: Fence, mark: number, ms: number): Promise<void>;
  grant(fence: Fence, mark: number | null): Promise<void>;
  divert(changes: readonly FlowChange[]): Promise<void>;
  adopt(): Promise<Adopted | null>;
  seen(): Promise<readonly UdpFlow[]>;
  judge(packet: Packet): Promise<Verdict>;
  /** Where copies of a packet go, ascending, whatever becomes of itself. */
  copiesOf(packet: Packet): Promise<readonly MacAddress[]>;
  /** What becomes of a reset of a connection that this host does not know, or of several at once, in any order. */
  judgeReset(client: IpAddress): Promise<ResetVerdict>;
  judgeResets(client: IpAddress, count: number): Promise<readonly ResetVerdict[]>;
  /** Whether such a reset that was held back leaves. */
  letsGo(client: IpAddress): Promise<boolean>;
  counters(): Promise<FlowCounters>;
  remove(): Promise<void>;
}

function segmentServiceWith(mask: string, overrides: Partial<ServiceEntry> = {}): ServiceEntry {
  const partition = partitionOf(ip(mask));
  return {
    name: 'web',
    address: ip('10.77.0.100'),
    ports: [
      { protocol: 'tcp', port: 80 },
      { protocol: 'udp', port: 53 },
    ],
    partition: defined(partition.ok ? partition.value : null, mask),
    device: 'eth0',
    ownMac: '02:00:00:00:00:0b',
    groupMac: '01:00:5e:4d:00:01',
    ...overrides,
  };
}

export const serviceWith = segmentServiceWith;

/** What a service entry says of how frames come. */
export const deliveries: Readonly<Record<Delivery, Partial<ServiceEntry>>> = {
  segment: {},
  router: { delivery: 'router', groupMac: null },
};

export function tableOf(service: ServiceEntry, slots: readonly number[]): ForwardingTable {
  return { service, rows: new Map(slots.map((slot) => [slot, ownRow])) };
}

/** Applies a table under a lease and a hold that outlast the test. */
export async function serve(plane: JudgedDataPlane, table: ForwardingTable): Promise<void> {
  await plane.apply(table);
  const mark = nextMark++;
  for (const fence of ['lease', 'hold'] as const) {
    await plane.arm(fence, mark, 60_000);
    await plane.grant(fence, mark);
  }
}

let nextMark = 1;
export const service = serviceWith('0.0.0.255');

/** A SYN from port 40,000 to the service's port 80, but for what `overrides` says. */
export function packet(overrides: Partial<Packet> & { from: string }): Packet {
  const { from, ...rest } = overrides;
  const ports = { sourcePort: 40_000, destinationPort: 80 };
  return { source: ip(from), destination: service.address, protocol: 'tcp', ...ports, opens: true, ...rest };
}

export const peer = '02:00:00:00:00:0c';
const stranger = '02:00:00:00:00:0d';
const relayRow: Row = { kind: 'relay', peer };
const oldRow: Row = { kind: 'old', peer: null };
const leavingRow: Row = { kind: 'old', peer };

/** In slot 7. */
export const mine = '10.77.101.7';
/** In slot 8. */
export const theirs = '10.77.101.8';
const cases: readonly (readonly [string, Packet, Verdict])[] = [
  ['a SYN of my slot goes up', packet({ from: mine }), 'local'],
  ['a SYN of another slot drops', packet({ from: theirs }), 'drop'],
  ['a client far away is judged by the same bits', packet({ from: '198.51.100.7' }), 'local'],
  ['a port that is not served drops, in my slot too', packet({ from: mine, destinationPort: 22 }), 'drop'],
  ['UDP of a served port goes up', packet({ from: mine, protocol: 'udp', destinationPort: 53 }), 'local'],
  ['a TCP port is not served over UDP', packet({ from: mine, protocol: 'udp', destinationPort: 80 }), 'drop'],
  ['UDP of another slot drops', packet({ from: theirs, protocol: 'udp', destinationPort: 53 }), 'drop'],
  ['an echo request of my slot goes up', packet({ from: mine, protocol: 'icmp', icmpType: 8 }), 'local'],
  ['an echo request of another slot drops', packet({ from: theirs, protocol: 'icmp', icmpType: 8 }), 'drop'],
  [
    'fragmentation-needed goes up whatever router sent it',
    packet({ from: theirs, protocol: 'icmp', icmpType: 3 }),
    'local',
  ],
  ['time-exceeded goes up', packet({ from: theirs, protocol: 'icmp', icmpType: 11 }), 'local'],
  ['parameter-problem goes up', packet({ from: theirs, protocol: 'icmp', icmpType: 12 }), 'local'],
  [
    'a later fragment of my slot goes up, its payload read as no port',
    packet({ from: mine, fragmentOffset: 185, destinationPort: 22 }),
    'local',
  ],
  ['a later fragment of another slot drops', packet({ from: theirs, fragmentOffset: 185 }), 'drop'],
  [
    'a later fragment is no ICMP error, whatever its payload',
    packet({ from: theirs, protocol: 'icmp', icmpType: 3, fragmentOffset: 1 }),
    'drop',
  ],
  ['a segment that opens nothing goes up in my slot', packet({ from: mine, opens: false }), 'local'],
  ['a segment that opens nothing drops in another slot', packet({ from: theirs, opens: false }), 'drop'],
  ['a packet for another address passes', { ...packet({ from: theirs }), destination: ip('10.77.0.11') }, 'pass'],
];

/** What every adapter of the data plane must do, packet by packet. */
export function describeDataPlane(name: string, open: () => JudgedDataPlane, delivery: Delivery = 'segment'): void {
  const serviceWith = (mask: string, overrides: Partial<ServiceEntry> = {}): ServiceEntry =>
    segmentServiceWith(mask, { ...deliveries[delivery], ...overrides });
  const service = serviceWith('0.0.0.255');
  describe(`data plane contract: ${name}, ${delivery} delivery`, () => {
    test('without a table every packet passes', async () => {
      await open().remove();
      expect(await open().judge(packet({ from: mine }))).toBe('pass');
    });

    test.each(cases)('%s', async (_what, each, verdict) => {
      await serve(open(), tableOf(service, [7]));
      expect(await open().judge(each)).toBe(verdict);
    });

    test('an empty table drops everything for the address', async () => {
      await serve(open(), tableOf(service, []));
      expect(await open().judge(packet({ from: mine }))).toBe('drop');
    });

    test('a change takes the old slots away and adds the new ones', async () => {
      await serve(open(), tableOf(service, [1, 2, 7]));
      await serve(open(), tableOf(service, [2, 8]));
      const verdicts = [];
      for (const last of [1, 2, 7, 8]) verdicts.push(await open().judge(packet({ from: `10.77.101.${last}` })));
      expect(verdicts).toEqual(['drop', 'local', 'drop', 'local']);
    });

    test('a mask with scattered bits picks the slot', async () => {
      // Bits 0, 3 and 17 of the address: slot 5 = 0b101 is bits 0 and 17 set, bit 3 clear.
      const scattered = serviceWith('0.2.0.9');
      await serve(open(), tableOf(scattered, [5]));
      expect(await open().judge(packet({ from: '10.2.0.1' }))).toBe('local');
      expect(await open().judge(packet({ from: '10.2.0.9' }))).toBe('drop');
      expect(await open().judge(packet({ from: '10.0.0.1' }))).toBe('drop');
      await open().remove();
    });

    test('a mask without bits makes one slot of everybody', async () => {
      await serve(open(), tableOf(serviceWith('0.0.0.0'), [0]));
      expect(await open().judge(packet({ from: theirs }))).toBe('local');
      await open().remove();
    });

    test('10,000 slots are taken and given back', async () => {
      const wide = serviceWith('0.0.63.255');
      const all = Array.from({ length: 10_000 }, (_, slot) => slot);
      await serve(open(), tableOf(wide, all));
      expect(await open().judge(packet({ from: '10.77.39.15' }))).toBe('local');
      expect(await open().judge(packet({ from: '10.77.39.16' }))).toBe('drop');
      await serve(open(), tableOf(wide, []));
      expect(await open().judge(packet({ from: '10.77.39.15' }))).toBe('drop');
      await open().remove();
    });

    const kinds: readonly Packet[] = [
      packet({ from: mine }),
      packet({ from: mine, relayedBy: peer }),
      packet({ from: mine, relayedBy: stranger }),
      packet({ from: mine, opens: false }),
      packet({ from: mine, protocol: 'udp', destinationPort: 53 }),
      packet({ from: mine, protocol: 'icmp', icmpType: 8 }),
      packet({ from: mine, fragmentOffset: 185 }),
      packet({ from: mine, destinationPort: 22 }),
    ];
    const rows: readonly (readonly [string, Row, readonly Verdict[]])[] = [
      ['own', ownRow, ['local', 'local', 'local', 'local', 'local', 'local', 'local', 'drop']],
      ['new', newRow, ['local', 'local', 'local', 'local', 'local', 'local', 'local', 'drop']],
      ['relay', relayRow, ['relay', 'drop', 'drop', 'local', 'drop', 'drop', 'local', 'drop']],
      ['old', oldRow, ['drop', 'drop', 'drop', 'local', 'drop', 'drop', 'local', 'drop']],
      ['old, relayed to', leavingRow, ['drop', 'local', 'drop', 'local', 'drop', 'drop', 'local', 'drop']],
    ];

    test.each(rows)(
      'row %s: SYN, relayed SYNs, other TCP, UDP, echo, fragment, unserved port',
      async (_what, row, verdicts) => {
        await serve(open(), { service, rows: new Map([[7, row]]) });
        const judged: Verdict[] = [];
        for (const each of kinds) judged.push(await open().judge(each));
        expect(judged).toEqual(verdicts);
        expect(await open().judge(packet({ from: theirs, opens: false }))).toBe('drop');
      },
    );

    test.each(rows)(
      'row %s without a lease takes and relays nothing new; what opens nothing still goes up',
      async (_what, row) => {
        await serve(open(), { service, rows: new Map([[7, row]]) });
        await open().grant('lease', null);
        const judged: Verdict[] = [];
        for (const each of kinds) judged.push(await open().judge(each));
        expect(judged).toEqual(['drop', 'drop', 'drop', 'local', 'drop', 'drop', 'local', 'drop']);
      },
    );

    test.each(rows)('row %s without a hold lets no segment up that opens nothing', async (_what, row) => {
      await serve(open(), { service, rows: new Map([[7, row]]) });
      await open().grant('hold', null);
      expect(await open().judge(packet({ from: mine, opens: false }))).toBe('drop');
      expect(await open().judge(packet({ from: mine, fragmentOffset: 185 }))).toBe('drop');
    });

    test.each([
      ['own', ownRow, 'leaves'],
      ['new', newRow, 'withheld'],
      ['relay', relayRow, 'withheld'],
      ['old', oldRow, 'withheld'],
      ['old, relayed to', leavingRow, 'withheld'],
    ] as const)('row %s: a reset of an unknown connection: %s', async (_what, row, verdict) => {
      await serve(open(), { service, rows: new Map([[7, row]]) });
      expect(await open().judgeReset(ip(mine))).toBe(verdict);
      await open().grant('lease', null);
      expect(await open().judgeReset(ip(mine))).toBe('withheld');
    });

    test('where the agent is asked, a reset of a settled slot waits for it, and leaves if the slot still is', async () => {
      const asking = serviceWith('0.0.0.255', { name: 'asking', resetGroup: 40_000 });
      await open().remove();
      await serve(open(), tableOf(asking, [7]));
      const before = await open().counters();
      expect(await open().judgeReset(ip(mine))).toBe('asked');
      expect(await open().letsGo(ip(mine))).toBe(true);
      const { resetsAsked, resetsWithheld } = await open().counters();
      expect([resetsAsked - before.resetsAsked, resetsWithheld - before.resetsWithheld]).toEqual([1, 0]);
      await open().apply({ service: asking, rows: new Map([[7, newRow]]) });
      expect([await open().judgeReset(ip(mine)), await open().letsGo(ip(mine))]).toEqual(['withheld', false]);
      await open().apply(tableOf(asking, [7]));
      await open().grant('lease', null);
      expect([await open().judgeReset(ip(mine)), await open().letsGo(ip(mine))]).toEqual(['withheld', false]);
      await open().remove();
    });

    test('more resets than the agent is given leave', async () => {
      const asking = serviceWith('0.0.0.255', { name: 'asking', resetGroup: 40_000 });
      await open().remove();
      await serve(open(), tableOf(asking, [7]));
      const verdicts = await open().judgeResets(ip(mine), 150);
      expect(new Set(verdicts)).toEqual(new Set(['asked', 'leaves']));
      expect(verdicts.filter((verdict) => verdict === 'asked').length).toBeGreaterThanOrEqual(50);
      await open().remove();
    });

    test('rows change into each other, one packet after the other', async () => {
      const seen: Verdict[] = [];
      for (const row of [ownRow, leavingRow, oldRow, relayRow, newRow, relayRow, ownRow, oldRow, leavingRow]) {
        await serve(open(), { service, rows: new Map([[7, row]]) });
        seen.push(await open().judge(packet({ from: mine })));
      }
      expect(seen).toEqual(['local', 'drop', 'drop', 'relay', 'local', 'relay', 'local', 'drop', 'drop']);
    });

    test('what is taken needs a lease that is granted and lasts', async () => {
      const syn = packet({ from: mine });
      const verdicts: Verdict[] = [];
      const judge = async (): Promise<number> => verdicts.push(await open().judge(syn));
      await open().remove();
      await open().apply(tableOf(service, [7]));
      await judge();
      await open().arm('lease', 1_000_001, 60_000);
      await judge();
      await open().grant('lease', 1_000_002);
      await judge();
      await open().grant('lease', 1_000_001);
      await judge();
      await open().grant('lease', 1_000_003);
      await judge();
      expect(verdicts).toEqual(['drop', 'drop', 'drop', 'local', 'drop']);
    });

    test('a lease ends by itself', async () => {
      const syn = packet({ from: mine });
      await open().apply(tableOf(service, [7]));
      await open().arm('lease', 2_000_001, 150);
      await open().grant('lease', 2_000_001);
      expect(await open().judge(syn)).toBe('local');
      const end = Date.now() + 5000;
      while ((await open().judge(syn)) === 'local') expect(Date.now()).toBeLessThan(end);
      expect(await open().judge(syn)).toBe('drop');
    });

    test('a later process adopts the table, rows and fences, and goes on from it', async () => {
      const rows: Rows = new Map<number, Row>([
        [7, ownRow],
        [8, newRow],
        [9, relayRow],
        [10, oldRow],
        [11, leavingRow],
      ]);
      await serve(open(), { service, rows });
      expect((await open().adopt())?.rows).toEqual(rows);
      expect(await open().judge(packet({ from: mine }))).toBe('local');
      await open().apply({ service, rows: new Map([[8, ownRow]]) });
      expect(await open().judge(packet({ from: mine }))).toBe('drop');
      expect(await open().judge(packet({ from: theirs }))).toBe('local');
    });

    test('without a table there is nothing to adopt', async () => {
      await open().remove();
      expect(await open().adopt()).toBe(null);
    });

    test('ICMP errors need no lease: they open nothing', async () => {
      await open().remove();
      await open().apply(tableOf(service, []));
      expect(await open().judge(packet({ from: theirs, protocol: 'icmp', icmpType: 3 }))).toBe('local');
    });

    test('a change of rows keeps the lease', async () => {
      await serve(open(), tableOf(service, [7]));
      await open().apply(tableOf(service, [8]));
      expect(await open().judge(packet({ from: theirs }))).toBe('local');
    });

    test('accepted and dropped packets are counted', async () => {
      await open().remove();
      await serve(open(), tableOf(service, [7]));
      await open().judge(packet({ from: mine }));
      await open().judge(packet({ from: theirs }));
      await open().judge(packet({ from: theirs }));
      expect(await open().counters()).toEqual({
        accepted: 1,
        relayed: 0,
        dropped: 2,
        resetsWithheld: 0,
        resetsAsked: 0,
        held: 0,
      });
    });
  });
}
