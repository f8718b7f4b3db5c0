import { describe, expect, test } from 'vitest';
import type { FlowCounters } from '../../src/dataplane/data-plane.ts';
import { diversionsMax, type FlowChange } from '../../src/dataplane/diversions.ts';
import { ownRow } from '../../src/dataplane/forwarding-table.ts';
import type { Packet, Verdict } from '../../src/dataplane/packet.ts';
import {
  ip,
  type JudgedDataPlane,
  mine,
  packet,
  peer,
  serve,
  service,
  tableOf,
  theirs,
} from './data-plane-contract.ts';

/** By default the flow that `packet` is of. */
export function diverting(from: string, clientPort = sourcePort, servicePort = 80): FlowChange {
  return { flow: { client: ip(from), clientPort, servicePort }, isDiverted: true };
}

/** The same, judged like any other again. */
export function releasing(from: string): FlowChange {
  return { ...diverting(from), isDiverted: false };
}

const sourcePort = 40_000;
const none: FlowCounters = { accepted: 0, relayed: 0, dropped: 0, resetsWithheld: 0, resetsAsked: 0, held: 0 };

/** What every adapter of the data plane must do with flows that are diverted. */
export function describeDiversions(name: string, open: () => JudgedDataPlane): void {
  describe(`diverted flows: ${name}`, () => {
    const segment = packet({ from: mine, opens: false });
    const judgeAll = async (packets: readonly Packet[]): Promise<Verdict[]> => {
      const verdicts: Verdict[] = [];
      for (const each of packets) verdicts.push(await open().judge(each));
      return verdicts;
    };
    const begin = async (slots: readonly number[]): Promise<void> => {
      await open().remove();
      await serve(open(), tableOf(service, slots));
    };
    /** All that are not of the flow, but nearly. */
    const others: readonly Packet[] = [
      { ...segment, sourcePort: sourcePort + 1 },
      { ...segment, source: ip('198.51.100.7') },
      packet({ from: mine, protocol: 'udp', destinationPort: 53 }),
      packet({ from: mine, protocol: 'icmp', icmpType: 8 }),
      packet({ from: mine, protocol: 'icmp', icmpType: 3 }),
      packet({ from: mine, fragmentOffset: 185 }),
    ];

    test('all TCP of the flow is diverted, and nothing else', async () => {
      await begin([7]);
      await open().divert([diverting(mine)]);
      const syn = packet({ from: mine });
      expect(await judgeAll([segment, syn, { ...syn, relayedBy: peer }])).toEqual(['hold', 'hold', 'hold']);
      expect(await judgeAll(others)).toEqual(others.map(() => 'local'));
      expect(await open().judge({ ...segment, destination: ip('10.77.0.11') })).toBe('pass');
    });

    test('the ports of a flow are those of TCP, the client by its own address and port', async () => {
      await begin([7]);
      await open().divert([diverting(mine, 80, sourcePort), diverting(mine, 53, 53)]);
      const udp = packet({ from: mine, protocol: 'udp', sourcePort: 53, destinationPort: 53 });
      expect(await judgeAll([segment, udp])).toEqual(['local', 'local']);
    });

    test('a flow is diverted whatever its row and fences, also where nothing else is taken', async () => {
      await open().remove();
      await open().apply(tableOf(service, []));
      await open().divert([diverting(mine), diverting(theirs)]);
      expect(await judgeAll([segment, packet({ from: theirs, opens: false })])).toEqual(['hold', 'hold']);
      expect(await open().counters()).toEqual({ ...none, held: 2 });
    });

    test('flows are diverted and released, several at once, and the last word counts', async () => {
      await begin([7, 8]);
      const both = [segment, packet({ from: theirs, opens: false })];
      const seen: Verdict[][] = [];
      for (const changes of [
        [diverting(theirs)],
        [diverting(mine), releasing(theirs)],
        [diverting(mine)],
        [releasing(mine), diverting(mine), diverting(theirs), releasing(theirs)],
        [diverting(mine), releasing(mine), releasing(mine)],
        [],
      ]) {
        await open().divert(changes);
        seen.push(await judgeAll(both));
      }
      expect(seen).toEqual([
        ['local', 'hold'],
        ['hold', 'local'],
        ['hold', 'local'],
        ['hold', 'local'],
        ['local', 'local'],
        ['local', 'local'],
      ]);
    });

    test('what is diverted outlasts changes of rows', async () => {
      await begin([7]);
      await open().divert([diverting(mine)]);
      await open().apply(tableOf(service, [8]));
      await open().apply(tableOf(service, [7]));
      expect(await open().judge(segment)).toBe('hold');
      await open().divert([releasing(mine)]);
      expect(await open().judge(segment)).toBe('local');
    });

    test('a later process adopts the table and none of the flows that were diverted', async () => {
      await begin([7]);
      await open().divert([diverting(mine), diverting('10.77.102.7')]);
      expect((await open().adopt())?.rows).toEqual(new Map([[7, ownRow]]));
      expect(await judgeAll([segment, packet({ from: '10.77.102.7', opens: false })])).toEqual(['local', 'local']);
      await open().divert([diverting(mine)]);
      expect(await open().judge(segment)).toBe('hold');
    });

    test('what was diverted ends with the table that is removed', async () => {
      await begin([7]);
      await open().divert([diverting(mine)]);
      await open().remove();
      await expect(open().divert([diverting(mine)])).rejects.toThrow('there is no table');
      await serve(open(), tableOf(service, [7]));
      expect(await open().judge(segment)).toBe('local');
    });

    test('more flows than the bound are refused, and nothing changes', async () => {
      const many = Array.from({ length: diversionsMax }, (_, i) => diverting(`198.18.${i >> 8}.${i & 255}`));
      await begin([7]);
      for (let i = 0; i < many.length; i += 1024) await open().divert(many.slice(i, i + 1024));
      await expect(open().divert([diverting(mine), diverting(theirs), releasing('198.18.0.9')])).rejects.toThrow(
        '65537 flows would be diverted, more than 65536',
      );
      await open().divert([diverting(theirs), releasing('198.18.0.9')]);
      for (let i = 0; i < many.length - 1024; i += 1024) {
        await open().divert(many.slice(i, i + 1024).map(({ flow }) => ({ flow, isDiverted: false })));
      }
      const last = packet({ from: '198.18.255.7', opens: false });
      expect(await judgeAll([segment, last])).toEqual(['local', 'hold']);
      await open().remove();
    });
  });
}
