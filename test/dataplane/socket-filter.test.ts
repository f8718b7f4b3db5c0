import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { instructionsMax, type SocketShare, socketFilter, socketPredicate } from '../../src/dataplane/socket-filter.ts';
import type { UdpFlow } from '../../src/dataplane/staying.ts';
import { accepts } from '../../src/space/filter.ts';
import { coverSlots, maskedAddressOf, type Partition, partitionOf } from '../../src/space/index.ts';
import { ip } from '../contract/data-plane-contract.ts';
import { runClassicBpf } from './classic-bpf.ts';

function partition(mask: string): Partition {
  const made = partitionOf(ip(mask));
  return defined(made.ok ? made.value : null, mask);
}

function shareOf(mask: string, slots: Iterable<number>, staying: Partial<SocketShare> = {}): SocketShare {
  return { partition: partition(mask), slots: new Set(slots), kept: [], foreign: [], ...staying };
}

function programOf(share: SocketShare) {
  const made = socketFilter(share);
  return defined(made.ok ? made.value : null, made.ok ? '' : made.reason);
}

const anyAddress = fc.bigInt({ min: 0n, max: 0xffff_ffffn }).map((value) => ipAddress(4, value));
/** Few of each, so that flows meet. */
const flow = fc.record({ host: fc.integer({ min: 0, max: 40 }), clientPort: fc.integer({ min: 1, max: 4 }) }).map(
  ({ host, clientPort }): UdpFlow => ({
    client: ipAddress(4, 0x0a00_0000n + BigInt(host)),
    clientPort,
    servicePort: 7,
  }),
);
const share = fc
  .record({
    mask: fc.constantFrom('0.0.0.255', '0.0.0.0', '0.128.3.5', '255.0.0.0', '0.0.31.255', '128.0.0.1'),
    seed: fc.array(fc.nat(), { maxLength: 300 }),
    kept: fc.array(flow, { maxLength: 30 }),
    foreign: fc.array(flow, { maxLength: 30 }),
  })
  .map(({ mask, seed, kept, foreign }) => {
    const { slotCount } = partition(mask);
    return shareOf(
      mask,
      seed.map((each) => each % slotCount),
      { kept, foreign },
    );
  });

test('program, predicate and list of filters take the same datagrams of every share', () => {
  fc.assert(
    fc.property(share, fc.array(anyAddress, { maxLength: 20 }), fc.array(flow), (of, clients, flows) => {
      const program = programOf(of);
      const filters = coverSlots(of.partition, of.slots);
      const takes = socketPredicate({ ...of, filters });
      const isIn = (list: readonly UdpFlow[], each: UdpFlow) =>
        list.some(({ client, clientPort }) => client.value === each.client.value && clientPort === each.clientPort);
      const strangers = clients.map((client) => ({ client, clientPort: 9, servicePort: 7 }));
      for (const each of [...strangers, ...flows, ...of.kept, ...of.foreign]) {
        const expected =
          isIn(of.kept, each) || (!isIn(of.foreign, each) && filters.some((filter) => accepts(filter, each.client)));
        expect(runClassicBpf(program, each) > 0).toBe(expected);
        expect(takes(each.client, each.clientPort)).toBe(expected);
      }
    }),
    { numRuns: 300 },
  );
});

test('each of 4,096 slots drawn by lot is decided right, with jumps further than a byte reaches', () => {
  const slots = Array.from({ length: 4096 }, (_, slot) => slot).filter(
    (slot) => Math.imul(slot ^ (slot >>> 5), 0x9e37_79b1) % 7 < 0,
  );
  const of = shareOf('0.0.15.255', slots);
  const program = programOf(of);
  expect(program.filter(([code]) => code === 0x05).length).toBeGreaterThan(1);
  const taken = Array.from({ length: 4096 }, (_, slot) => slot).filter((slot) => {
    const client = maskedAddressOf(of.partition, slot);
    return runClassicBpf(program, { client, clientPort: 1, servicePort: 7 }) > 0;
  });
  expect(taken).toEqual(slots);
});

test('a share of a few filters is a few instructions, whatever the number of slots', () => {
  const odd = Array.from({ length: 32_768 }, (_, i) => 2 * i + 1);
  // Load, test, take, drop.
  expect(programOf(shareOf('0.0.255.255', odd)).length).toBe(4);
  expect(
    programOf(
      shareOf(
        '0.0.0.255',
        Array.from({ length: 86 }, (_, i) => i),
      ),
    ).length,
  ).toBeLessThan(16);
});

test('a share that does not fit is refused with its size', () => {
  const flows = Array.from({ length: 1100 }, (_, i) => ({
    client: ipAddress(4, BigInt(i)),
    clientPort: 1,
    servicePort: 7,
  }));
  const refused = socketFilter(shareOf('0.0.0.255', [1], { foreign: flows }));
  expect(refused).toMatchObject({ ok: false });
  expect(refused.ok || refused.reason).toMatch(
    new RegExp(`^a share that takes \\d{4} instructions, a socket filter has at most ${instructionsMax}$`),
  );
});
