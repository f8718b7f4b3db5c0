import { describe, expect, test } from 'vitest';
import type { FlowCounters } from '../../src/dataplane/data-plane.ts';
import { type Diverted, diversionsMax, type FlowChange } from '../../src/dataplane/diversions.ts';
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
export function change(to: Diverted | null, from: string, clientPort = sourcePort, servicePort = 80): FlowChange {
  return { flow: { client: ip(from), clientPort, servicePort }, to };
}

const sourcePort = 40_000;
const none: FlowCounters = { accepted: 0, relayed: 0, dropped: 0, resetsWithheld: 0, resetsAsked: 0, cut: 0, held: 0 };

/** What every adapter of the data plane must do with flows that are cut or held. */
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

    test.each([
      ['cut', 'drop'],
      ['hold', 'hold'],
    ] as const)('%s: all TCP of the flow gets the verdict %s, and nothing else does', async (to, verdict) => {
      await begin([7]);
      await open().divert([change(to, mine)]);
      const syn = packet({ from: mine });
      expect(await judgeAll([segment, syn, { ...syn, relayedBy: peer }])).toEqual([verdict, verdict, verdict]);
      expect(await judgeAll(others)).toEqual(others.map(() => 'local'));
      expect(await open().judge({ ...segment, destination: ip('10.77.0.11') })).toBe('pass');
    });

    test('the ports of a flow are those of TCP, the client by its own address and port', async () => {
      await begin([7]);
      await open().divert([change('cut', mine, 80, sourcePort), change('hold', mine, 53, 53)]);
      const udp = packet({ from: mine, protocol: 'udp', sourcePort: 53, destinationPort: 53 });
      expect(await judgeAll([segment, udp])).toEqual(['local', 'local']);
    });

    test('a flow is diverted whatever its row and fences, also where nothing else is taken', async () => {
      await open().remove();
      await open().apply(tableOf(service, []));
      await open().divert([change('hold', mine), change('cut', theirs)]);
      expect(await judgeAll([segment, packet({ from: theirs, opens: false })])).toEqual(['hold', 'drop']);
      expect(await open().counters()).toEqual({ ...none, held: 1, cut: 1 });
    });

    test('a flow goes from one to the other and back, several at once, and the last word counts', async () => {
      await begin([7, 8]);
      const both = [segment, packet({ from: theirs, opens: false })];
      const seen: Verdict[][] = [];
      for (const changes of [
        [change('cut', mine), change('hold', theirs)],
        [change('hold', mine), change('cut', theirs)],
        [change('hold', mine)],
        [change(null, mine), change('hold', mine), change('cut', theirs), change(null, theirs)],
        [change('cut', mine), change(null, mine), change(null, mine)],
        [],
      ]) {
        await open().divert(changes);
        seen.push(await judgeAll(both));
      }
      expect(seen).toEqual([
        ['drop', 'hold'],
        ['hold', 'drop'],
        ['hold', 'drop'],
        ['hold', 'local'],
        ['local', 'local'],
        ['local', 'local'],
      ]);
    });

    test('what is diverted outlasts changes of rows', async () => {
      await begin([7]);
      await open().divert([change('cut', mine)]);
      await open().apply(tableOf(service, [8]));
      await open().apply(tableOf(service, [7]));
      expect(await open().judge(segment)).toBe('drop');
      await open().divert([change(null, mine)]);
      expect(await open().judge(segment)).toBe('local');
    });

    test('a later process adopts the table and none of the flows that were diverted', async () => {
      await begin([7]);
      await open().divert([change('cut', mine), change('hold', '10.77.102.7')]);
      expect((await open().adopt())?.rows).toEqual(new Map([[7, ownRow]]));
      expect(await judgeAll([segment, packet({ from: '10.77.102.7', opens: false })])).toEqual(['local', 'local']);
      await open().divert([change('cut', mine)]);
      expect(await open().judge(segment)).toBe('drop');
    });

    test('what was diverted ends with the table that is removed', async () => {
      await begin([7]);
      await open().divert([change('cut', mine)]);
      await open().remove();
      await expect(open().divert([change('cut', mine)])).rejects.toThrow('there is no table');
      await serve(open(), tableOf(service, [7]));
      expect(await open().judge(segment)).toBe('local');
    });

    test('more flows than the bound are refused, and nothing changes', async () => {
      const many = Array.from({ length: diversionsMax }, (_, i) => change('cut', `198.18.${i >> 8}.${i & 255}`));
      await begin([7]);
      for (let i = 0; i < many.length; i += 1024) await open().divert(many.slice(i, i + 1024));
      await expect(
        open().divert([change('cut', mine), change('cut', theirs), change(null, '198.18.0.9')]),
      ).rejects.toThrow('65537 flows would be cut or held, more than 65536');
      await open().divert([change('cut', theirs), change(null, '198.18.0.9')]);
      for (let i = 0; i < many.length - 1024; i += 1024) {
        await open().divert(many.slice(i, i + 1024).map(({ flow }) => ({ flow, to: null })));
      }
      const last = packet({ from: '198.18.255.7', opens: false });
      expect(await judgeAll([segment, last])).toEqual(['local', 'drop']);
      await open().remove();
    });
  });
}
