import { expect, test } from 'vitest';
import { JoinChecks, joinChecksDefaults } from '../../src/router/join-checks.ts';
import { Joining } from '../../src/router/joining.ts';
import { Memberships } from '../../src/router/memberships.ts';
import { createRandom, type Random } from '../../src/sim/random.ts';
import { encodeQuery, encodeReport } from '../../src/wire/igmp.ts';
import { encodeIgmpPacket, internetChecksum } from '../../src/wire/igmp-packet.ts';
import {
  allRouters,
  bytePartition,
  group,
  instant,
  ip,
  joinPacket,
  outcome,
  PrivateGroup,
  portsUnderTest,
  share,
} from './joins-under-test.ts';

/** `MANYCAST_FUZZ_COUNT=100000 MANYCAST_FUZZ_SEED=2 npx vitest run test/router/fuzz.test.ts` tries more, or others. */
const count = Number(process.env.MANYCAST_FUZZ_COUNT ?? 20_000);
const seed = Number(process.env.MANYCAST_FUZZ_SEED ?? 1);

const site = new PrivateGroup();
const open = { ...site.admission, group: ip('239.1.9.10'), isPublic: true };
const nowMs = Date.now();
const ipHeaderBytes = 24;

/** Packets that count, each once. */
const good = [
  joinPacket(site.web1, { timeMs: nowMs, filters: share(0, 1, 2, 3), epoch: 5 }),
  joinPacket(site.web2, { timeMs: nowMs, filters: { ...share(4, 5, 9), prohibit: share(9).permit }, epoch: 5 }),
  joinPacket(site.web1, { timeMs: nowMs, group: open.group }),
  ...[encodeReport('is-exclude', open.group, share(7)), encodeReport('to-include', open.group, null)].map((each) =>
    packetOf(each.ok ? each.value : new Uint8Array()),
  ),
  packetOf(
    encodeQuery({
      ...{ group, maxResponseMs: 2000, suppress: true, robustness: 3, intervalMs: 9000, sources: [ip('10.77.0.3')] },
    }),
  ),
];

function packetOf(message: Uint8Array): Uint8Array {
  return encodeIgmpPacket({ source: site.web1.address, destination: allRouters, message });
}

test(`${count} reports and queries that were tampered with throw nothing, and take nothing from anybody`, () => {
  const random = createRandom(seed);
  const checks = new JoinChecks(portsUnderTest([site.admission, open]), joinChecksDefaults);
  const groups = [group, open.group].map((address) => ({ address, partition: bytePartition }));
  const links = [{ name: 'lan', address: ip('10.77.0.9') }];
  const state = new Memberships({ links, groups, membersMax: 50 }, 0);
  const joining = new Joining({ group, random: random.next });
  const receive = (packet: Uint8Array, atMs: number): string | null => {
    const judgement = checks.receive(packet, 'lan', instant(nowMs, atMs));
    if (judgement.kind === 'query') {
      state.queried('lan', judgement.source, atMs);
      joining.queried(judgement.query, atMs);
      return null;
    }
    for (const join of judgement.joins) state.joined(join, atMs);
    return judgement.joins.some((join) => join.replica !== null) ? null : String(outcome(judgement));
  };
  for (const packet of good) receive(packet, 0);
  const owners = state.owners(group);
  expect(owners.size).toBe(6);

  const reasons = new Set<string | null>();
  for (let i = 0; i < count; i++) {
    const packet = tampered(random);
    const atMs = i / 10;
    const reason = receive(packet, atMs);
    if (reason === null && packet[ipHeaderBytes] === 0x22) {
      expect.unreachable(`packet ${i} counts: ${Buffer.from(packet).toString('hex')}`);
    }
    if (reason !== null) reasons.add(reason);
    joining.wake(atMs);
    if (state.wakeAtMs <= atMs) state.wake(atMs);
  }
  expect(state.owners(group)).toBe(owners);
  for (const reason of ['malformed', 'unsigned', 'duplicate', 'not-timely', 'wrong-link', 'no-key', 'signature']) {
    expect(reasons, reason).toContain(reason);
  }
}, 600_000);

/** A packet of those that are good, or anything, with some bytes changed, cut out, or put in; its checksum is mostly right. */
function tampered(random: Random): Uint8Array {
  let packet: Uint8Array = random.chance(0.05)
    ? Uint8Array.from({ length: random.below(1600) }, () => random.below(256))
    : random.pick(good).slice();
  const from = random.chance(0.1) ? 0 : ipHeaderBytes;
  const changes = 1 + random.below(3);
  for (let i = 0; i < changes && packet.length > from; i++) {
    const at = from + random.below(packet.length - from);
    // Most of a join is its certificate and signature: what comes before is where meaning is.
    const early = from + random.below(Math.min(90, packet.length - from));
    const where = random.chance(0.6) ? early : at;
    const kind = random.below(5);
    if (kind <= 1) packet[where] = (packet[where] ?? 0) ^ (1 << random.below(8));
    else if (kind === 2) packet[where] = random.below(256);
    else if (kind === 3) packet = without(packet, where, 1 + random.below(random.chance(0.5) ? 4 : 400));
    else packet = withInserted(packet, where, packet.slice(at, at + 1 + random.below(60)));
  }
  if (random.chance(0.9)) repair(packet);
  return packet;
}

function without(packet: Uint8Array, at: number, length: number): Uint8Array {
  return Uint8Array.from([...packet.subarray(0, at), ...packet.subarray(at + length)]);
}

function withInserted(packet: Uint8Array, at: number, bytes: Uint8Array): Uint8Array {
  return Uint8Array.from([...packet.subarray(0, at), ...bytes, ...packet.subarray(at)]);
}

/** Length of the packet, checksum of the message. */
function repair(packet: Uint8Array): void {
  if (packet.length < ipHeaderBytes + 4) return;
  packet.set([packet.length >> 8, packet.length & 0xff], 2);
  const message = packet.subarray(ipHeaderBytes);
  message.set([0, 0], 2);
  const sum = internetChecksum(message);
  message.set([sum >> 8, sum & 0xff], 2);
}
