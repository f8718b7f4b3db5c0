import { X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import {
  isSignedBy,
  joiningMember,
  type MemberCertificate,
  objectionToAuthority,
  signedJoin,
} from '../../src/identity/join.ts';
import { certificateBytes, joinCryptography, joinSigner } from '../../src/platform/join-signatures.ts';
import { JoinChecks } from '../../src/router/join-checks.ts';
import { Joining } from '../../src/router/joining.ts';
import { Memberships } from '../../src/router/memberships.ts';
import { decodeIgmp } from '../../src/wire/igmp.ts';
import type { Credentials } from '../../src/wire/igmp-extension.ts';
import { encodeIgmpPacket } from '../../src/wire/igmp-packet.ts';
import {
  accepted,
  address,
  allRouters,
  bytePartition,
  group,
  instant,
  ip,
  portsUnderTest,
  share,
} from '../router/joins-under-test.ts';
import { authorityUnderTest, lifetime } from './authority-under-test.ts';

const site = authorityUnderTest('site1');
const files = site.member('web1');
const authority = defined(joinCryptography.readAuthority(site.certificate), 'an authority');
const nowMs = Date.now();
const credentials: Credentials = {
  ...{ requester: address(21), timeMs: nowMs, randomKey: new Uint8Array(16).fill(7), epoch: 3 },
  certificate: certificateBytes(files.certificate),
};
const none: ReadonlySet<string> = new Set();
const join = { type: 'to-exclude', group, filters: share(1, 2, 3) } as const;

function member(certificate = files.certificate): MemberCertificate {
  const read = authority.readMember(certificateBytes(certificate));
  if (!read.ok) throw new Error(read.reason);
  return read.value;
}

describe('a signed join', () => {
  test('is signed over all that it says, by the key of its certificate', async () => {
    const made = await signedJoin(join, credentials, joinSigner(files.key));
    const message = made.ok ? made.value : new Uint8Array();
    const decoded = decodeIgmp(message);
    expect(decoded).toMatchObject({ ok: true, value: { extension: { authentication: credentials } } });
    expect(isSignedBy(member(), message, message.slice(-256))).toBe(true);
    expect(isSignedBy(member(site.member('web2').certificate), message, message.slice(-256))).toBe(false);
    for (const at of [8, 15, 20, 40, 100, 900]) {
      const changed = message.map((byte, i) => (i === at ? byte ^ 1 : byte));
      expect(isSignedBy(member(), changed, message.slice(-256)), `byte ${at}`).toBe(false);
    }
  });

  test('of more filters than fit is refused, and nothing is signed', async () => {
    const permit = Array.from({ length: 300 }, (_, i) => ({ value: ip(`0.0.0.${i % 256}`), mask: ip('0.0.0.255') }));
    const unasked = () => expect.unreachable('sign was called');
    const made = await signedJoin({ ...join, filters: { permit, prohibit: [] } }, credentials, unasked);
    expect(made).toMatchObject({ ok: false, reason: expect.stringContaining('too many filters') });
  });

  test('of a member makes it an owner, and its leave none', async () => {
    const record = { group, name: 'site1', isPublic: false, authority: site.certificate, revokedSerials: none };
    const checks = new JoinChecks(portsUnderTest([record]));
    const state = new Memberships({ links: [], groups: [{ address: group, partition: bytePartition }] }, 0);
    const joining = new Joining({ group, random: () => 0.5 });
    const sign = joinSigner(files.key);
    let count = 0;
    const say = async (atMs: number): Promise<void> => {
      const report = defined(joining.wake(atMs), 'a report');
      const fresh = {
        ...credentials,
        timeMs: nowMs + atMs,
        randomKey: new Uint8Array(16).fill(++count),
        epoch: report.epoch,
      };
      const made = await signedJoin({ ...report, group }, fresh, sign);
      const message = made.ok ? made.value : new Uint8Array();
      const packet = encodeIgmpPacket({ source: address(21), destination: allRouters, message });
      state.joined(accepted(checks.receive(packet, 'lan', instant(nowMs + atMs))), atMs);
    };
    joining.take(share(1, 2), 4, 0);
    await say(0);
    expect([...state.owners(group)]).toEqual([1, 2].map((slot) => [slot, { address: address(21), link: 'lan' }]));
    joining.take(share(2), 5, 10);
    await say(10);
    expect([...state.owners(group).keys()]).toEqual([2]);
    joining.leave(20);
    await say(20);
    expect(state.owners(group).size).toBe(0);
  });
});

describe('the certificate of a member', () => {
  const rules = { cluster: 'site1', nowMs, revokedSerials: none };

  test('names who joins', () => {
    expect(joiningMember(member(), rules)).toEqual({ ok: true, value: { cluster: 'site1', replica: 'web1' } });
  });

  test.each([
    ['another cluster', { cluster: 'site2' }, 'it is for a member of "site1", not of "site2"'],
    ['a time before it', { nowMs: nowMs - 2 * 86_400_000 }, 'it is not in force'],
    ['a time after it', { nowMs: nowMs + 2 * 86_400_000 }, 'it is not in force'],
  ])('is refused for %s', (_what, other, reason) => {
    expect(joiningMember(member(), { ...rules, ...other })).toEqual({ ok: false, reason });
  });

  test('is refused when it is revoked, however its serial is written', () => {
    const serial = new X509Certificate(files.certificate).serialNumber;
    const colons = (serial.match(/../g) ?? []).join(':');
    for (const written of [serial, serial.toLowerCase(), `00${serial}`, colons]) {
      expect(joiningMember(member(), { ...rules, revokedSerials: new Set(['01', written]) })).toMatchObject({
        ok: false,
      });
    }
  });

  test('is not read when it is damaged, an authority, or not signed by this one', () => {
    const other = authorityUnderTest('site1').member('web1').certificate;
    expect(
      [new Uint8Array(9), certificateBytes(site.certificate), certificateBytes(other)].map((each) =>
        authority.readMember(each),
      ),
    ).toEqual([
      { ok: false, reason: 'its certificate is damaged' },
      { ok: false, reason: 'its certificate is that of an authority' },
      { ok: false, reason: "its certificate is not signed by the group's authority" },
    ]);
  });
});

describe('the certificate of an authority', () => {
  test('speaks for its own cluster while it is in force', () => {
    expect(objectionToAuthority(authority, { cluster: 'site1', nowMs })).toBe(null);
    expect(objectionToAuthority(authority, { cluster: 'site2', nowMs })).toBe(
      'it is the authority of "site1", not of "site2"',
    );
    const over = joinCryptography.readAuthority(authorityUnderTest('site1', lifetime(-3, -2)).certificate);
    expect(objectionToAuthority(defined(over, 'an authority'), { cluster: 'site1', nowMs })).toBe(
      'the certificate of the authority is not in force',
    );
  });

  test('is not read when it is a member, or nothing', () => {
    expect([files.certificate, ''].map((pem) => joinCryptography.readAuthority(pem))).toEqual([null, null]);
  });
});
