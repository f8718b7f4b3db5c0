import { describe, expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import { flowKey } from '../../src/base/tcp-flow.ts';
import { newRow, ownRow, type Row, type ServiceEntry } from '../../src/dataplane/forwarding-table.ts';
import type { Packet, Verdict } from '../../src/dataplane/packet.ts';
import { nothingStays, type Staying, type UdpFlow, udpFlowsOf } from '../../src/dataplane/staying.ts';
import { ip, type JudgedDataPlane, mine, packet, peer, serve, serviceWith, theirs } from './data-plane-contract.ts';

const service = serviceWith('0.0.0.255', { udpIdleMs: 60_000 });
const oldRow: Row = { kind: 'old', peer: null };
const leavingRow: Row = { kind: 'old', peer };
const relayRow: Row = { kind: 'relay', peer };

/** By default the flow that `datagram` is of. */
export function udpFlow(from = mine, clientPort = 40_000, servicePort = 53): UdpFlow {
  return { client: ip(from), clientPort, servicePort };
}

function datagram(from = mine, overrides: Partial<Packet> = {}): Packet {
  return packet({ from, protocol: 'udp', destinationPort: 53, ...overrides });
}

function keys(flows: Iterable<UdpFlow>): string[] {
  return [...flows].map(flowKey).sort();
}

/** What every adapter of the data plane must do with UDP flows that stay with their holder. */
export function describeStaying(name: string, open: () => JudgedDataPlane): void {
  describe(`UDP flows that stay: ${name}`, () => {
    const begin = async (row: Row, staying: Partial<Staying> = {}, of: ServiceEntry = service): Promise<void> => {
      await open().remove();
      await serve(open(), tableOf(row, staying, of));
    };
    const tableOf = (row: Row, staying: Partial<Staying> = {}, of: ServiceEntry = service) => ({
      service: of,
      rows: new Map([[7, row]]),
      staying: { ...nothingStays, ...staying },
    });
    const judge = async (packets: readonly Packet[]): Promise<Verdict[]> => {
      const verdicts: Verdict[] = [];
      for (const each of packets) verdicts.push(await open().judge(each));
      return verdicts;
    };
    const flows = udpFlowsOf([udpFlow()]);
    /** The flow's own, one of another client port, one of another client of the slot. */
    const three = [datagram(), datagram(mine, { sourcePort: 40_001 }), datagram('198.51.100.7')];

    test.each([
      ['old', oldRow],
      ['old, relayed to', leavingRow],
      ['relay', relayRow],
      ['new, and shut', newRow],
    ] as const)('row %s takes the datagrams of kept flows, and of no others, under the lease', async (_what, row) => {
      await begin(row, { kept: flows, shut: new Set([7]) });
      expect(await judge(three)).toEqual(['local', 'drop', 'drop']);
      await open().grant('lease', null);
      expect(await judge(three)).toEqual(['drop', 'drop', 'drop']);
    });

    test.each([
      ['own', ownRow],
      ['new', newRow],
    ] as const)('row %s takes all datagrams but those of foreign flows', async (_what, row) => {
      await begin(row, { foreign: flows });
      expect(await judge(three)).toEqual(['drop', 'local', 'local']);
    });

    test('of a slot that is shut no datagram is taken, but of flows that are kept, and all else is', async () => {
      await begin(newRow, { shut: new Set([7]) });
      expect(await judge([...three, packet({ from: mine }), datagram(mine, { fragmentOffset: 185 })])).toEqual([
        ...['drop', 'drop', 'drop'],
        ...['local', 'local'],
      ]);
      await open().apply(tableOf(newRow, { shut: new Set([8]) }));
      expect(await judge(three)).toEqual(['local', 'local', 'local']);
      await open().apply(tableOf(oldRow, { kept: flows, shut: new Set([7]) }));
      expect(await judge(three)).toEqual(['local', 'drop', 'drop']);
    });

    test('what stays is UDP: neither TCP nor echo requests with the same addresses and ports', async () => {
      const others = [
        packet({ from: mine, destinationPort: 80 }),
        packet({ from: mine, protocol: 'icmp', icmpType: 8 }),
        packet({ from: mine, fragmentOffset: 185 }),
      ];
      await begin(ownRow, { foreign: udpFlowsOf([udpFlow(mine, 40_000, 80), udpFlow()]) });
      expect(await judge(others)).toEqual(['local', 'local', 'local']);
      await begin(oldRow, { kept: udpFlowsOf([udpFlow(mine, 40_000, 80), udpFlow()]) });
      expect(await judge(others)).toEqual(['drop', 'drop', 'local']);
    });

    test('a kept flow to a port that is not served drops', async () => {
      await begin(oldRow, { kept: udpFlowsOf([udpFlow(mine, 40_000, 54)]) });
      expect(await judge([datagram(mine, { destinationPort: 54 })])).toEqual(['drop']);
    });

    test('kept and foreign flows change with the rows, and without them', async () => {
      await begin(ownRow);
      const seen: Verdict[][] = [];
      for (const table of [
        tableOf(leavingRow, { kept: flows }),
        tableOf(oldRow, { kept: udpFlowsOf([udpFlow(mine, 40_001)]) }),
        tableOf(oldRow),
        tableOf(relayRow, { foreign: flows }),
        tableOf(newRow, { foreign: flows }),
        tableOf(newRow),
      ]) {
        await open().apply(table);
        seen.push(await judge(three.slice(0, 2)));
      }
      expect(seen).toEqual([
        ['local', 'drop'],
        ['drop', 'local'],
        ['drop', 'drop'],
        ['drop', 'drop'],
        ['drop', 'local'],
        ['local', 'local'],
      ]);
    });

    test('flows of which a datagram was taken are seen, whatever the row; what drops is not', async () => {
      await begin(newRow, { foreign: udpFlowsOf([udpFlow(mine, 40_001)]) });
      await judge([...three, datagram(theirs), datagram(mine, { destinationPort: 54 }), packet({ from: mine })]);
      await judge([datagram(mine, { fragmentOffset: 185 })]);
      expect(keys(await open().seen())).toEqual(keys([udpFlow(), udpFlow('198.51.100.7')]));
      await open().apply(tableOf(oldRow, { kept: udpFlowsOf([udpFlow(mine, 40_002)]) }));
      await judge([datagram(mine, { sourcePort: 40_002 }), datagram(mine, { sourcePort: 40_003 })]);
      expect(keys(await open().seen())).toEqual(keys([udpFlow(), udpFlow('198.51.100.7'), udpFlow(mine, 40_002)]));
    });

    test('a flow is seen until it was silent for its time, each datagram anew', async () => {
      await begin(ownRow, {}, serviceWith('0.0.0.255', { udpIdleMs: 300 }));
      await judge(three);
      const end = Date.now() + 5000;
      while ((await open().seen()).length > 1) {
        expect(Date.now()).toBeLessThan(end);
        await judge([datagram()]);
      }
      expect(keys(await open().seen())).toEqual(keys([udpFlow()]));
      while ((await open().seen()).length > 0) expect(Date.now()).toBeLessThan(end);
    });

    test('a later process finds what stays elsewhere, and keeps nothing itself', async () => {
      await begin(oldRow, { kept: flows, foreign: udpFlowsOf([udpFlow(theirs)]), shut: new Set([8]) });
      const found = defined(await open().adopt(), 'a table').staying;
      expect([found.kept.size, [...found.foreign.keys()], [...found.shut]]).toEqual([
        0,
        [flowKey(udpFlow(theirs))],
        [8],
      ]);
      expect(await judge([datagram()])).toEqual(['drop']);
      await open().apply(tableOf(newRow, { foreign: udpFlowsOf([udpFlow(theirs), udpFlow()]) }));
      expect(await judge(three)).toEqual(['drop', 'local', 'local']);
    });

    test('thousands of flows stay', async () => {
      const many = Array.from({ length: 5000 }, (_, i) => udpFlow(mine, 1024 + i));
      const first = datagram(mine, { sourcePort: 1024 });
      const last = datagram(mine, { sourcePort: 6023 });
      await begin(ownRow);
      await open().apply(tableOf(oldRow, { kept: udpFlowsOf(many) }));
      expect(await judge([first, last])).toEqual(['local', 'local']);
      await open().apply(tableOf(newRow, { foreign: udpFlowsOf(many) }));
      expect(await judge([first, last])).toEqual(['drop', 'drop']);
      await open().apply(tableOf(newRow));
      expect(await judge([first, last])).toEqual(['local', 'local']);
    });

    test('a service that does not say so sees nothing, and nothing stays', async () => {
      await begin(ownRow, {}, serviceWith('0.0.0.255'));
      await judge(three);
      expect(await open().seen()).toEqual([]);
      await open().remove();
    });
  });
}
