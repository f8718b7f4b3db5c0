import { describe, expect, test } from 'vitest';
import { newRow, type Row } from '../../src/dataplane/forwarding-table.ts';
import type { Packet, Verdict } from '../../src/dataplane/packet.ts';
import { nothingStays, udpFlowsOf } from '../../src/dataplane/staying.ts';
import {
  deliveries,
  ip,
  type JudgedDataPlane,
  mine,
  packet,
  peer,
  serve,
  serviceWith,
  theirs,
} from './data-plane-contract.ts';

const service = serviceWith('0.0.0.255', deliveries.router);
const other = '02:00:00:00:00:0d';
const both = [peer, other];
const copiedRow: Row = { ...newRow, holders: both };
const relayRow: Row = { kind: 'relay', peer, holders: both };

/** What every adapter must send to hosts that do not see the frames. */
export function describeCopies(name: string, open: () => JudgedDataPlane): void {
  describe(`copies to holders: ${name}`, () => {
    const begin = async (row: Row): Promise<void> => {
      await open().remove();
      await serve(open(), { service, rows: new Map([[7, row]]) });
    };
    const seen = async (each: Packet): Promise<readonly [Verdict, readonly string[]]> => [
      await open().judge(each),
      await open().copiesOf(each),
    ];
    const all: readonly Packet[] = [
      packet({ from: mine }),
      packet({ from: mine, opens: false }),
      packet({ from: mine, opens: false, relayedBy: other }),
      packet({ from: mine, opens: false, destinationPort: 22 }),
      packet({ from: mine, fragmentOffset: 185 }),
      packet({ from: mine, protocol: 'udp', destinationPort: 53 }),
      packet({ from: mine, protocol: 'icmp', icmpType: 8 }),
      packet({ from: theirs, opens: false }),
    ];

    test('row new: what opens nothing goes up and to each holder, once; what came as a copy is not copied', async () => {
      await begin(copiedRow);
      const verdicts = [];
      for (const each of all) verdicts.push(await seen(each));
      expect(verdicts).toEqual([
        ['local', []],
        ['local', both],
        ['local', []],
        ['drop', []],
        ['local', both],
        ['local', []],
        ['local', []],
        ['drop', []],
      ]);
    });

    test('row relay: so it does there, a SYN is relayed to the peer alone, and UDP sent to all', async () => {
      await begin(relayRow);
      expect(await open().judge(packet({ from: mine }))).toBe('relay');
      expect(await open().judge(packet({ from: mine, relayedBy: other }))).toBe('drop');
      const verdicts = [];
      for (const each of all.slice(1)) verdicts.push(await seen(each));
      expect(verdicts).toEqual([
        ['local', both],
        ['local', []],
        ['drop', []],
        ['local', both],
        ['relay', both],
        ['drop', []],
        ['drop', []],
      ]);
    });

    test('nothing is copied without a hold', async () => {
      await begin(copiedRow);
      await open().grant('hold', null);
      expect(await seen(packet({ from: mine, opens: false }))).toEqual(['drop', []]);
    });

    test('an ICMP error goes up, and to the holders of the slot that the packet it is about went to', async () => {
      await begin(copiedRow);
      const error = packet({ from: theirs, protocol: 'icmp', icmpType: 3 });
      expect(await seen({ ...error, about: ip(mine) })).toEqual(['local', both]);
      expect(await seen({ ...error, about: ip(theirs) })).toEqual(['local', []]);
      expect(await seen({ ...error, about: ip(mine), relayedBy: peer })).toEqual(['local', []]);
    });

    test('rows with other holders, and without, replace each other', async () => {
      const segment = packet({ from: mine, opens: false });
      const copied = [];
      await begin(newRow);
      for (const row of [
        copiedRow,
        { ...newRow, holders: [other] },
        newRow,
        relayRow,
        { ...relayRow, holders: [peer] },
      ]) {
        await open().apply({ service, rows: new Map([[7, row]]) });
        copied.push(await open().copiesOf(segment));
      }
      expect(copied).toEqual([both, [other], [], both, [peer]]);
    });

    test('a later process adopts rows with their holders, and goes on from them', async () => {
      await begin(copiedRow);
      const rows = new Map([
        [7, copiedRow],
        [8, relayRow],
      ] as const);
      await open().apply({ service, rows });
      expect((await open().adopt())?.rows).toEqual(rows);
      expect(await open().copiesOf(packet({ from: mine, opens: false }))).toEqual(both);
      await open().apply({ service, rows: new Map([[8, copiedRow]]) });
      expect(await open().copiesOf(packet({ from: theirs, opens: false }))).toEqual(both);
    });

    test('UDP that a holder may have kept is sent to the holders, and taken here only where it is not', async () => {
      const staying = serviceWith('0.0.0.255', { ...deliveries.router, udpIdleMs: 60_000 });
      const flow = { client: ip(mine), clientPort: 40_000, servicePort: 53 };
      const datagram = packet({ from: mine, protocol: 'udp', destinationPort: 53 });
      const judge = async (row: Row, more: object): Promise<unknown> => {
        await open().apply({ service: staying, rows: new Map([[7, row]]), staying: { ...nothingStays, ...more } });
        return [...(await seen(datagram)), await open().judge({ ...datagram, relayedBy: peer })];
      };
      await open().remove();
      await serve(open(), { service: staying, rows: new Map() });
      expect(await judge(copiedRow, {})).toEqual(['local', [], 'local']);
      expect(await judge(copiedRow, { foreign: udpFlowsOf([flow]) })).toEqual(['relay', both, 'drop']);
      expect(await judge(copiedRow, { shut: new Set([7]) })).toEqual(['relay', both, 'drop']);
      expect(await judge(relayRow, {})).toEqual(['relay', both, 'drop']);
      expect(await judge({ kind: 'old', peer: null }, { kept: udpFlowsOf([flow]) })).toEqual(['local', [], 'local']);
      await open().remove();
    });
  });
}
