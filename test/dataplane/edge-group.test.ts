import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import type { EdgeService, NextHop } from '../../src/dataplane/edge.ts';
import { ip, serviceWith } from '../contract/data-plane-contract.ts';
import { openNamespaceHost } from '../contract/namespace-host.ts';

const { ask, close } = openNamespaceHost(fileURLToPath(new URL('edge-host.mjs', import.meta.url)));
afterAll(close);
beforeEach(async () => void (await ask('remove')));

const [r1, r2] = ['10.77.0.11', '10.77.0.12'].map((each) => ({ address: ip(each), device: 'lan' })) as [
  NextHop,
  NextHop,
];
const group = '239.77.0.100';
const { partition } = serviceWith('0.0.0.255');

const news = (owners: readonly (readonly [number, NextHop])[]): EdgeService => ({
  ...{ name: 'my-news', address: ip(group), clientDevices: ['wan'], partition },
  ...{ owners: new Map(owners), tags: new Map() },
});
const both = news([
  [7, r1],
  [8, r2],
]);

/** Maps travel as lists. */
const listed = (...services: EdgeService[]): unknown => ({
  services: services.map((each) => ({ ...each, owners: [...each.owners], tags: [...each.tags] })),
});
const apply = (...services: EdgeService[]) => ask('apply', listed(...services));
const pass = async (packet: object): Promise<{ readonly to: string }[]> =>
  (await ask('pass', { protocol: 'udp', to: group, ...packet })) as { to: string }[];
const takers = async (packet: object): Promise<string[]> => (await pass(packet)).map(({ to }) => to);
const joined = async (): Promise<boolean> =>
  ((await ask('ip', { args: ['-4', 'address', 'show', 'dev', 'wan'] })) as string).includes(`inet ${group}/32`);

const from7 = { from: '198.51.100.7' };
const from8 = { from: '198.51.100.8' };

describe('an edge router, of datagrams to a group', () => {
  test('sends each on to the host that owns its slot, in a frame for that host alone, with the group as its destination and one hop less', async () => {
    await apply(both);
    const arrival = { at: 'lan', source: from7.from, destination: group, ttl: 32, df: false };
    expect(await pass(from7)).toEqual([{ ...arrival, to: 'r1' }]);
    expect(await pass({ ...from8, df: true })).toEqual([{ ...arrival, source: from8.from, df: true, to: 'r2' }]);
    expect(await takers({ ...from8, fragmentOffset: 100 })).toEqual(['r2']);
  });

  test('sends none on whose slot nobody owns, that has no hop left, that is no datagram, or whose sender is elsewhere', async () => {
    await apply(both);
    const none = [
      { from: '198.51.100.9' },
      { ...from7, ttl: 1 },
      { ...from7, protocol: 'icmp' },
      // Of the replicas' own segment, where every member has had it; and one that only says so.
      { ...from7, side: 'lan' },
      { from: '10.77.0.7' },
      { ...from7, to: '239.77.0.101' },
    ];
    const seen = [];
    for (const each of none) seen.push(await takers(each));
    expect(seen).toEqual(none.map(() => []));
    expect(await ask('counters', 'my-news')).toEqual({ forwarded: 0, tagged: 0, errors: 0, dropped: 3 });
  });

  test('fragments what is too large for the link, unless its sender forbids it', async () => {
    await apply(both);
    await ask('ip', { args: ['link', 'set', 'lan', 'mtu', '1280'] });
    const seen = [await takers({ ...from7, bytes: 1400 }), await takers({ ...from7, bytes: 1400, df: true })];
    await ask('ip', { args: ['link', 'set', 'lan', 'mtu', '1500'] });
    expect(seen).toEqual([['r1', 'r1'], []]);
  });

  test('a slot changes hands, and what is given up by all is closed', async () => {
    await apply(both);
    await apply(
      news([
        [7, r2],
        [8, r2],
      ]),
    );
    expect([await takers(from7), await takers(from8)]).toEqual([['r2'], ['r2']]);
    await apply(news([[8, r2]]));
    expect([await takers(from7), await takers(from8)]).toEqual([[], ['r2']]);
  });

  test('goes on from what an earlier process left, and puts back what others take away', async () => {
    await apply(both);
    const adopted = (await ask('adopt', listed(news([])))) as { services: { owners: [number, NextHop][] }[] };
    expect(adopted.services[0]?.owners.map(([slot, { address }]) => [slot, address])).toEqual([
      [7, r1.address],
      [8, r2.address],
    ]);
    expect(await ask('repair')).toBe(false);
    await ask('nft', 'flush ruleset');
    await ask('ip', { args: ['address', 'delete', `${group}/32`, 'dev', 'wan'] });
    expect([await takers(from7), await joined()]).toEqual([[], false]);
    expect(await ask('repair')).toBe(true);
    expect([await takers(from7), await joined()]).toEqual([['r1'], true]);
    expect(await ask('repair')).toBe(false);
  });

  test('leaves the group at the devices of clients, and nothing behind', async () => {
    await apply(both);
    expect(await joined()).toBe(true);
    await ask('remove');
    expect(await joined()).toBe(false);
    expect(await ask('nft', 'list ruleset')).not.toContain('mce_');
  });

  test('stands beside a service that is routed', async () => {
    const web: EdgeService = {
      ...{ name: 'my-web', address: ip('10.77.0.100'), partition },
      ...{ owners: new Map([[7, r2]]), tags: new Map() },
    };
    await apply(both, web);
    expect([await takers(from7), await takers({ ...from7, to: '10.77.0.100' })]).toEqual([['r1'], ['r2']]);
    const rules = (await ask('ip', { args: ['rule', 'show'] })) as string;
    expect(rules).not.toContain(group);
  });
});
