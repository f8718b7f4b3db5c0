import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { type EdgeService, type NextHop, nextHopOf, nextHopsMax, tagKey } from '../../src/dataplane/edge.ts';
import type { Packet as JudgedPacket } from '../../src/dataplane/packet.ts';
import { ip, serviceWith } from '../contract/data-plane-contract.ts';
import { openNamespaceHost } from '../contract/namespace-host.ts';

const { ask, close } = openNamespaceHost(fileURLToPath(new URL('edge-host.mjs', import.meta.url)));
afterAll(close);

const [r1, r2, r3] = ['10.77.0.11', '10.77.0.12', '10.77.0.13'].map((each) => ({
  address: ip(each),
  device: 'lan',
})) as [NextHop, NextHop, NextHop];
const { partition } = serviceWith('0.0.0.255');
const address = ip('10.77.0.100');

function web(owners: readonly (readonly [number, NextHop])[], overrides: Partial<EdgeService> = {}): EdgeService {
  return { name: 'my-web', address, partition, owners: new Map(owners), tags: new Map(), ...overrides };
}

/** Maps travel as lists. */
function listed(...services: EdgeService[]): object {
  return { services: services.map((each) => ({ ...each, owners: [...each.owners], tags: [...each.tags] })) };
}

const applied = (...services: EdgeService[]) => ask('apply', listed(...services));

async function apply(...services: EdgeService[]): Promise<void> {
  expect(await applied(...services)).toMatchObject({ errors: [] });
}

interface Packet {
  readonly from: string;
  readonly [field: string]: unknown;
}

/** What comes out of the router for one packet. */
interface Arrival {
  readonly at: 'lan' | 'wan';
  readonly to: string;
  readonly ttl: number;
  readonly source: string;
  readonly icmpType?: number;
  readonly mtu?: number;
}

const pass = async (packet: Packet): Promise<Arrival[]> =>
  (await ask('pass', { protocol: 'tcp', ...packet })) as Arrival[];
/** The replicas that get a packet. */
const takers = async (packet: Packet): Promise<string[]> => (await pass(packet)).map(({ to }) => to);
/** The host that has the service address on the segment, were it not for the rules. */
const plainlyRouted = '02:00:00:00:00:64';
const from7 = { from: '198.51.100.7' };
const from8 = { from: '198.51.100.8' };

beforeEach(async () => void (await ask('remove')));

describe('an edge router', () => {
  test('sends each packet to the owner of its slot and to nobody else, as any hop does', async () => {
    await apply(
      web([
        [7, r1],
        [8, r2],
      ]),
    );
    expect(await pass(from7)).toEqual([
      { at: 'lan', to: 'r1', ttl: 32, source: from7.from, destination: '10.77.0.100' },
    ]);
    expect(await takers({ ...from8, protocol: 'udp' })).toEqual(['r2']);
    expect(await takers({ ...from8, protocol: 'icmp' })).toEqual(['r2']);
    expect(await takers({ from: '192.0.2.7', fragmentOffset: 100 })).toEqual(['r1']);
  });

  test('a slot without an owner is closed, and so is the service when somebody removes its rules', async () => {
    await apply(web([[7, r1]]));
    expect(await takers(from8)).toEqual([]);
    await ask('nft', 'flush ruleset');
    expect(await takers(from7)).toEqual([]);
    await ask('remove');
    await apply(web([[7, r1]]));
    expect(await takers(from7)).toEqual(['r1']);
  });

  test('a time to live that ends here is told by this router, and so is a packet that is too large', async () => {
    await apply(web([[7, r1]]));
    await ask('ip', { args: ['link', 'set', 'lan', 'mtu', '1280'] });
    const expired = await pass({ ...from7, ttl: 1 });
    const tooLarge = await pass({ ...from7, df: true, bytes: 1400 });
    await ask('ip', { args: ['link', 'set', 'lan', 'mtu', '1500'] });
    expect(expired).toMatchObject([{ at: 'wan', icmpType: 11, source: '10.77.1.254' }]);
    expect(tooLarge).toMatchObject([{ at: 'wan', icmpType: 3, mtu: 1280 }]);
  });

  test('a port that the service does not have is closed, where the ports are known', async () => {
    await apply(web([[7, r1]], { ports: [{ protocol: 'tcp', port: 80 }] }));
    const all = [
      from7,
      { ...from7, destinationPort: 22 },
      { ...from7, protocol: 'udp' },
      { ...from7, protocol: 'icmp' },
    ];
    const seen = [];
    for (const each of all) seen.push(await takers(each));
    expect(seen).toEqual([['r1'], [], [], ['r1']]);
  });

  test('a tagged flow goes where its tag says, and no other does', async () => {
    const flow = { protocol: 'tcp', client: ip(from7.from), clientPort: 40_000, servicePort: 80 } as const;
    const tags = new Map([[tagKey(flow), r3]]);
    await apply(web([[7, r1]], { tags }));
    expect(await takers(from7)).toEqual(['r3']);
    expect(await takers({ ...from7, sourcePort: 40_001 })).toEqual(['r1']);
    expect(await takers({ ...from7, protocol: 'udp' })).toEqual(['r1']);
    await apply(web([[7, r2]], { tags }));
    expect([await takers(from7), await takers({ ...from7, sourcePort: 40_001 })]).toEqual([['r3'], ['r2']]);
    await apply(web([[7, r2]]));
    expect(await takers(from7)).toEqual(['r2']);
  });

  test('of a tagged flow all goes to the holder but what opens it anew, which goes to the owner as any other', async () => {
    const flow = { protocol: 'tcp', client: ip(from7.from), clientPort: 40_000, servicePort: 80 } as const;
    const seen = [];
    await apply(web([[7, r1]], { tags: new Map([[tagKey(flow), r3]]) }));
    for (const flags of [0x10, 0x12, 0x11, 0x04, 0x02, 0xc2]) seen.push(await takers({ ...from7, flags }));
    expect(seen).toEqual([['r3'], ['r3'], ['r3'], ['r3'], ['r1'], ['r1']]);
  });

  test('an ICMP error goes to whoever has the packet that it is about', async () => {
    const flow = { protocol: 'tcp', client: ip(from8.from), clientPort: 40_000, servicePort: 80 } as const;
    await apply(
      web(
        [
          [7, r1],
          [8, r2],
        ],
        { tags: new Map([[tagKey(flow), r3]]) },
      ),
    );
    const error = (to: string, destinationPort: number) => ({
      ...{ from: '203.0.113.9', protocol: 'icmp', icmpType: 3 },
      about: { from: '10.77.0.100', to, protocol: 'tcp', sourcePort: 80, destinationPort },
    });
    expect(await takers(error(from7.from, 40_000))).toEqual(['r1']);
    expect(await takers(error(from8.from, 40_000))).toEqual(['r3']);
    expect(await takers(error(from8.from, 40_001))).toEqual(['r2']);
    expect(await takers(error('198.51.100.9', 40_000))).toEqual([]);
    expect(await ask('counters', 'my-web')).toEqual({ forwarded: 0, tagged: 0, errors: 3, dropped: 1 });
  });

  test('the ICMP errors that this router sends itself find the sender of the packet', async () => {
    await apply(
      web([
        [7, r1],
        [8, r2],
      ]),
    );
    await ask('ip', { args: ['link', 'set', 'wan', 'mtu', '1280'] });
    const answer = { side: 'lan', from: '10.77.0.100', df: true, bytes: 1400 };
    const arrivals = [await pass({ ...answer, to: from7.from }), await pass({ ...answer, to: from8.from })];
    const expired = await pass({ ...answer, to: from8.from, bytes: 20, ttl: 1 });
    await ask('ip', { args: ['link', 'set', 'wan', 'mtu', '1500'] });
    expect(arrivals).toMatchObject([[{ to: 'r1', icmpType: 3, mtu: 1280 }], [{ to: 'r2', icmpType: 3, mtu: 1280 }]]);
    expect(expired).toMatchObject([{ to: 'r2', icmpType: 11 }]);
  });

  test.each([
    [
      'among replicas that stay',
      200,
      [
        [8, r1],
        [9, r2],
        [10, r3],
      ],
    ],
    ['among replicas that come and go', 30, []],
  ] as const)(
    'a slot that changes hands under traffic, %s, loses no packet and doubles none',
    async (_what, changes, others) => {
      const tables = [r1, r2, r3].map((hop) => listed(web([[7, hop], ...others])));
      await ask('apply', tables[0]);
      const { sent, counts } = (await ask('flood', { packet: { protocol: 'tcp', ...from7 }, changes, tables })) as {
        sent: number;
        counts: Record<string, number>;
      };
      expect(Object.values(counts).reduce((sum, each) => sum + each)).toBe(sent);
      expect(Object.values(counts).every((each) => each > 0)).toBe(true);
    },
  );

  test('a replica that comes and one that goes: routes stand before and after they are needed', async () => {
    await apply(
      web([
        [7, r1],
        [8, r2],
      ]),
    );
    await apply(
      web([
        [7, r3],
        [8, r3],
      ]),
    );
    expect([await takers(from7), await takers(from8)]).toEqual([['r3'], ['r3']]);
    await apply(
      web([
        [7, r1],
        [8, r3],
      ]),
    );
    expect([await takers(from7), await takers(from8)]).toEqual([['r1'], ['r3']]);
    await apply(
      web([
        [7, r1],
        [8, r1],
      ]),
    );
    await apply(web([[7, r1]]));
    const rules = String(await ask('ip', { args: ['rule'] }));
    expect(rules.match(/fwmark/g)).toHaveLength(1);
  });

  test('several services share the router, and one that ends leaves the others alone', async () => {
    const dns = web([[7, r2]], { name: 'dns', address: ip('10.77.0.101') });
    await apply(web([[7, r1]]), dns);
    expect([await takers(from7), await takers({ ...from7, to: '10.77.0.101' })]).toEqual([['r1'], ['r2']]);
    await apply(dns);
    expect([await takers(from7), await takers({ ...from7, to: '10.77.0.101' })]).toEqual([[plainlyRouted], ['r2']]);
    expect(await ask('counters', 'my-web')).toBe(null);
  });

  test('thousands of slots and flows; other traffic is not touched', async () => {
    const wide = serviceWith('0.0.63.255').partition;
    const owners = Array.from({ length: 10_000 }, (_, slot) => [slot, slot % 2 ? r1 : r2] as const);
    const flows = Array.from({ length: 5000 }, (_, i) =>
      tagKey({ protocol: 'udp', client: ip('198.51.100.7'), clientPort: 1024 + i, servicePort: 80 }),
    );
    await apply(web(owners, { partition: wide, tags: new Map(flows.map((key) => [key, r3])) }));
    expect(await takers({ from: '10.0.39.15' })).toEqual(['r1']);
    expect(await takers({ from: '10.0.39.16' })).toEqual([]);
    expect(await takers({ ...from7, protocol: 'udp', sourcePort: 6023 })).toEqual(['r3']);
    expect(await takers({ ...from7, to: '10.77.0.12' })).toEqual(['r2']);
    await apply(
      web(
        owners.map(([slot]) => [slot, r3] as const),
        { partition: wide },
      ),
    );
    expect(await takers({ from: '10.0.39.15' })).toEqual(['r3']);
  });

  test('a mask of scattered bits, or of none, picks the slot', async () => {
    await apply(web([[5, r1]], { partition: serviceWith('0.2.0.9').partition }));
    const seen = [];
    for (const from of ['10.2.0.1', '10.2.0.9', '10.0.0.1']) seen.push(await takers({ from }));
    expect(seen).toEqual([['r1'], [], []]);
    await apply(web([[0, r2]], { partition: serviceWith('0.0.0.0').partition }));
    const about = { from: '10.77.0.100', to: from8.from, protocol: 'tcp' };
    expect([await takers(from7), await takers({ from: '203.0.113.9', protocol: 'icmp', icmpType: 3, about })]).toEqual([
      ['r2'],
      ['r2'],
    ]);
  });

  test('more next hops than the bound are refused', async () => {
    const owners = Array.from(
      { length: nextHopsMax + 1 },
      (_, i) => [i, { address: ip(`10.77.0.${i}`), device: 'lan' }] as const,
    );
    await expect(apply(web(owners))).rejects.toThrow('251 next hops are too many, allowed are 250');
  });
});

describe('a kernel shared with others', () => {
  const flow = { protocol: 'udp', client: ip(from8.from), clientPort: 40_000, servicePort: 80 } as const;
  const table = web(
    [
      [7, r1],
      [8, r2],
    ],
    { tags: new Map([[tagKey(flow), r3]]) },
  );

  test('a later process goes on from what stands, and nothing changes for packets', async () => {
    await apply(table);
    expect(await ask('adopt', listed(web([]), web([], { name: 'none' })))).toEqual(listed(table));
    expect(await takers(from7)).toEqual(['r1']);
    await apply(
      web([
        [7, r2],
        [8, r2],
      ]),
    );
    expect([await takers(from7), await takers({ ...from8, protocol: 'udp' })]).toEqual([['r2'], ['r2']]);
    expect(await ask('counters', 'my-web')).toEqual({ forwarded: 3, tagged: 0, errors: 0, dropped: 0 });
  });

  test.each([
    ['rules flushed', 'nft', 'flush ruleset'],
    ['an owner taken away', 'nft', 'delete element ip mce_my_web owners { 0.0.0.7 }'],
    ['a routing rule gone', 'ip', { args: ['rule', 'delete', 'pref', '7746'] }],
    ['what closes the service gone', 'ip', { args: ['rule', 'delete', 'pref', '7748'] }],
    ['a route gone', 'ip', { args: ['link', 'set', 'lan', 'down'] }],
  ])('%s: put back by a repair, and once', async (_what, operation, argument) => {
    await apply(table);
    expect(await ask('repair')).toBe(false);
    await ask(operation, argument);
    await ask('ip', {
      args: [],
      commands: [
        'link set lan up',
        ...['b', 'c', 'd'].map(
          (last, i) => `neighbour replace 10.77.0.1${i + 1} lladdr 02:00:00:00:00:0${last} dev lan`,
        ),
        'neighbour replace 10.77.0.99 lladdr 02:00:00:00:00:63 dev lan',
      ],
    });
    expect([await ask('repair'), await ask('repair')]).toEqual([true, false]);
    expect([await takers(from7), await takers({ ...from8, protocol: 'udp' })]).toEqual([['r1'], ['r3']]);
  });

  test('after a flush by somebody else the next change puts the whole table back', async () => {
    await apply(table);
    await ask('nft', 'flush ruleset');
    await apply(
      web([
        [7, r2],
        [8, r2],
      ]),
    );
    expect([await takers(from7), await takers(from8)]).toEqual([['r2'], ['r2']]);
  });

  test('a next hop that cannot be had keeps nobody from the others', async () => {
    const broken = { address: ip('10.77.0.14'), device: 'nowhere' };
    const table = web([
      [7, broken],
      [8, r2],
    ]);
    expect(await ask('apply', { ...listed(table), hops: [broken, r2] })).toEqual({
      errors: [expect.stringContaining('nowhere')],
      services: ['my-web'],
      reached: [false, true],
    });
    expect([await takers(from7), await takers(from8)]).toEqual([[], ['r2']]);
  });

  test('a next hop that could not be had is tried again, also when others went meanwhile', async () => {
    const late = { address: ip('10.77.0.14'), device: 'late' };
    const service = web([
      [7, late],
      [8, r2],
    ]);
    await apply(web([[8, r3]]));
    await applied(service);
    // Now the one before is not needed any more, and goes.
    expect(await ask('apply', { ...listed(service), hops: [late] })).toMatchObject({ reached: [false] });
    expect(await ask('apply', { ...listed(service), hops: [late] })).toMatchObject({ reached: [false] });
    await ask('ip', { args: ['link', 'add', 'late', 'up', 'type', 'bridge'] });
    expect(await ask('apply', { ...listed(service), hops: [late] })).toMatchObject({ errors: [], reached: [true] });
    await ask('ip', { args: ['link', 'delete', 'late'] });
  });

  test('removal leaves no table, rule or route behind', async () => {
    const standing = async () => [
      await ask('nft', 'list tables'),
      await ask('ip', { args: ['rule'] }),
      await ask('ip', { args: ['route', 'show', 'table', 'all'] }),
    ];
    const before = await standing();
    await apply(table);
    expect(await standing()).not.toEqual(before);
    await ask('remove');
    expect(await standing()).toEqual(before);
  });
});

describe('where a packet goes, without a kernel', () => {
  const flow = { protocol: 'tcp', client: ip(from8.from), clientPort: 40_000, servicePort: 80 } as const;
  const service = web(
    [
      [7, r1],
      [8, r2],
    ],
    { ports: [{ protocol: 'tcp', port: 80 }], tags: new Map([[tagKey(flow), r3]]) },
  );
  const packet = (from: string, more: object = {}) =>
    ({
      ...{ source: ip(from), destination: address, protocol: 'tcp', sourcePort: 40_000, destinationPort: 80, ...more },
    }) as const;

  test.each([
    ['by its slot', packet(from7.from), r1],
    ['by its tag', packet(from8.from), r3],
    ['by its slot when it opens a tagged flow anew', packet(from8.from, { opens: true }), r2],
    ['a later fragment by its slot', packet(from8.from, { fragmentOffset: 9 }), r2],
    ['nowhere without an owner', packet('198.51.100.9'), null],
    ['nowhere for a port that is not served', packet(from7.from, { destinationPort: 22 }), null],
    ['not for another address', packet(from7.from, { destination: ip('10.77.0.101') }), null],
  ])('%s', (_what, each, hop) => {
    expect(nextHopOf(service, each as JudgedPacket)).toEqual(hop);
  });

  test('an ICMP error by the packet that it is about', () => {
    const error = { source: ip('203.0.113.9'), destination: address, protocol: 'icmp', icmpType: 3 } as const;
    const about = (to: string, destinationPort = 40_000) =>
      ({ source: address, destination: ip(to), protocol: 'tcp', sourcePort: 80, destinationPort }) as const;
    expect([
      nextHopOf(service, error, about(from7.from)),
      nextHopOf(service, error, about(from8.from)),
      nextHopOf(service, error, about(from8.from, 40_001)),
    ]).toEqual([r1, r3, r2]);
  });
});
