import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JoinChecks } from '../../src/router/join-checks.ts';
import { encodeQuery } from '../../src/wire/igmp.ts';
import { encodeIgmpPacket } from '../../src/wire/igmp-packet.ts';
import {
  address,
  instant,
  ip,
  joinPacket,
  outcome,
  PrivateGroup,
  portsUnderTest,
  share,
} from '../router/joins-under-test.ts';

const site = new PrivateGroup();
const now = instant(Date.now());
const signed = joinPacket(site.web1, { timeMs: now.wallMs, filters: share(4, 5, 6, 7, 9), epoch: 3 });
const query = encodeIgmpPacket({
  ...{ source: address(1), destination: ip('224.0.0.1') },
  message: encodeQuery({
    ...{ group: null, maxResponseMs: 100, suppress: false, robustness: 2, intervalMs: 125_000, sources: [] },
  }),
});

interface Told {
  readonly join: string;
  readonly kernel: string;
  readonly query: string;
  readonly frame: string;
  readonly snooped: readonly string[];
  readonly own: readonly boolean[];
}
let told: Told;
const directory = mkdtempSync(join(tmpdir(), 'manycast-igmp-'));

beforeAll(() => {
  const host = fileURLToPath(new URL('igmp-socket-host.mjs', import.meta.url));
  const flags = process.getuid?.() === 0 ? '-n' : '-Urn';
  const hex = [signed, query].map((bytes) => Buffer.from(bytes).toString('hex'));
  told = JSON.parse(execFileSync('unshare', [flags, process.execPath, host, ...hex], { encoding: 'utf8' }));
});
afterAll(() => rmSync(directory, { recursive: true }));

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}

describe('on a bridge that snoops', () => {
  test('a signed report is taken for a plain join', () => {
    expect(told.snooped).toEqual(['to-web1 239.1.9.9 exclude']);
  });

  test('it comes to the router as it was sent, and counts', () => {
    const checks = new JoinChecks(portsUnderTest([site.admission]));
    expect(outcome(checks.receive(bytesOf(told.join), 'lan', now))).toMatchObject({ replica: 'web1', epoch: 3 });
  });

  test("a kernel's own report is read, and does not count for a private group", () => {
    const checks = new JoinChecks(portsUnderTest([site.admission]));
    expect(outcome(checks.receive(bytesOf(told.kernel), 'lan', now))).toBe('unsigned');
    const open = new JoinChecks(portsUnderTest([{ ...site.admission, isPublic: true }]));
    const judgement = open.receive(bytesOf(told.kernel), 'lan', now);
    expect(judgement).toMatchObject({
      joins: [{ address: address(22), isLeave: false, filters: { permit: [], prohibit: [] } }],
    });
  });

  test('a query comes to the members, and own packets to nobody', () => {
    const checks = new JoinChecks(portsUnderTest([]));
    expect(checks.receive(bytesOf(told.query), 'lan', now)).toMatchObject({
      query: { maxResponseMs: 100, version: 3 },
    });
    expect(told.own).toEqual([false, false]);
  });
});

test('another implementation reads a signed report as one of a plain join, without a complaint', () => {
  const frame = bytesOf(told.frame);
  const file = join(directory, 'join.pcap');
  writeFileSync(file, pcapOf(frame));
  const fields = [
    ...['ip.ttl', 'ip.opt.type', 'ip.checksum.status', 'igmp.checksum.status', 'igmp.type', 'igmp.num_grp_recs'],
    ...['igmp.record_type', 'igmp.aux_data_len', 'igmp.maddr', '_ws.expert.message', '_ws.malformed'],
  ];
  const args = ['-r', file, '-o', 'ip.check_checksum:TRUE', '-T', 'fields', '-E', 'separator=|'];
  const line = execFileSync('tshark', [...args, ...fields.flatMap((field) => ['-e', field])], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  expect(line.trimEnd()).toBe('1|148|1|1|0x22|1|4|0|239.1.9.9||');
});

/** One frame of Ethernet in a file for libpcap. */
function pcapOf(frame: Uint8Array): Uint8Array {
  const head = new DataView(new ArrayBuffer(40));
  for (const [at, value] of [
    [0, 0xa1b2c3d4],
    [4, 0x00020004],
    [16, 65535],
    [20, 1],
    [32, frame.length],
    [36, frame.length],
  ] as const) {
    head.setUint32(at, value);
  }
  return Uint8Array.from([...new Uint8Array(head.buffer), ...frame]);
}
