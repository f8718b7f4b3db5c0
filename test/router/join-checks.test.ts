import { randomBytes, X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { JoinChecks, joinChecksDefaults } from '../../src/router/join-checks.ts';
import { Memberships } from '../../src/router/memberships.ts';
import { encodeKeylessJoin, encodeQuery, encodeReport } from '../../src/wire/igmp.ts';
import { encodeIgmpPacket } from '../../src/wire/igmp-packet.ts';
import { authorityUnderTest, lifetime } from '../identity/authority-under-test.ts';
import {
  accepted,
  address,
  allRouters,
  bytePartition,
  group,
  instant,
  ip,
  joinMessage,
  joinPacket,
  outcome,
  PrivateGroup,
  portsUnderTest,
  share,
} from './joins-under-test.ts';

const site = new PrivateGroup();
const { web1, web2 } = site;
const nowMs = Date.now();
const now = instant(nowMs);
const good = { timeMs: nowMs };

function checks(config = joinChecksDefaults, admissions = [site.admission]): JoinChecks {
  return new JoinChecks(portsUnderTest(admissions), config);
}

function packetOf(message: Uint8Array, source = web1.address): Uint8Array {
  return encodeIgmpPacket({ source, destination: allRouters, message });
}

/** As an agent without certificates joins. */
function keylessPacket(said: { readonly timeMs: number; readonly epoch: number }): Uint8Array {
  const randomKey = Uint8Array.from(randomBytes(16));
  const join = encodeKeylessJoin('to-exclude', group, share(1, 2), { ...said, requester: web1.address, randomKey });
  return packetOf(join.ok ? join.value : new Uint8Array());
}

describe('a signed join', () => {
  test('of a member counts, with what its certificate proves', () => {
    expect(outcome(checks().receive(joinPacket(web1, { ...good, epoch: 7 }), 'lan', now))).toEqual({
      ...{ group, link: 'lan', address: web1.address, replica: 'web1', epoch: 7, timeMs: nowMs },
      ...{ isLeave: false, filters: share(1, 2, 3) },
      serial: new X509Certificate(web1.certificate).serialNumber,
    });
  });

  test('counts again when it is fresh, and of several members', () => {
    const all = checks();
    for (const member of [web1, web2, web1, web2]) accepted(all.receive(joinPacket(member, good), 'lan', now));
    expect([...all.refused]).toEqual([]);
  });

  test('is a leave when it includes nothing, or takes nothing', () => {
    const all = checks();
    for (const options of [{ type: 'to-include' as const }, { filters: share() }]) {
      const left = accepted(all.receive(joinPacket(web1, { ...good, ...options }), 'lan', now));
      expect(left).toMatchObject({ isLeave: true });
    }
  });
});

/** A fresh router knows one good join of web1 at epoch 5, then hears `packet`. */
function afterGood(
  packet: (first: Uint8Array) => Uint8Array,
  { link = 'lan', at = now, admissions = [site.admission] } = {},
) {
  const all = checks(joinChecksDefaults, admissions);
  const state = new Memberships({ links: [], groups: [{ address: group, partition: bytePartition }] }, nowMs);
  const first = joinPacket(web1, { ...good, epoch: 5 });
  const take = (judgement: ReturnType<JoinChecks['receive']>): void => {
    if (judgement.kind === 'report') for (const join of judgement.joins) state.joined(join, nowMs);
  };
  take(checks().receive(first, 'lan', now));
  take(all.receive(first, 'lan', now));
  const before = state.owners(group);
  const judgement = all.receive(packet(first), link, at);
  take(judgement);
  expect(state.owners(group)).toBe(before);
  return outcome(judgement);
}

describe('it is refused, and changes no owner:', () => {
  const impostor = new PrivateGroup();
  const claims = { ...good, filters: share(1, 2, 3, 4), epoch: 9 };

  test('of an impostor that has the certificate and not the key', () => {
    const forged = joinPacket({ ...web1, privateKey: impostor.web1.privateKey }, claims);
    expect(afterGood(() => forged)).toBe('signature');
  });

  test('of an impostor with an authority of the same name', () => {
    expect(afterGood(() => joinPacket(impostor.web1, claims))).toBe('certificate');
  });

  test('when it was copied', () => {
    expect(afterGood((first) => first)).toBe('duplicate');
  });

  test('when it is older or newer than the window', () => {
    const { windowMs } = joinChecksDefaults;
    expect(afterGood(() => joinPacket(web1, { ...claims, timeMs: nowMs - windowMs - 1 }))).toBe('not-timely');
    expect(afterGood(() => joinPacket(web1, { ...claims, timeMs: nowMs + windowMs + 1 }))).toBe('not-timely');
  });

  test('when it is copied after the window', () => {
    expect(afterGood((first) => first, { at: instant(nowMs + 2 * 30_000 + 1) })).toBe('duplicate');
    const all = checks();
    const packet = joinPacket(web1, good);
    accepted(all.receive(packet, 'lan', now));
    const later = (ms: number) => instant(nowMs + ms);
    accepted(all.receive(joinPacket(web1, { ...good, timeMs: nowMs + 60_001 }), 'lan', later(60_001)));
    expect(outcome(all.receive(packet, 'lan', later(60_002)))).toBe('not-timely');
  });

  test('when it comes on a link where its sender is not', () => {
    expect(afterGood(() => joinPacket(web1, claims), { link: 'other' })).toBe('wrong-link');
    expect(afterGood(() => joinPacket(web1, { ...claims, source: address(99) }))).toBe('wrong-link');
    expect(afterGood(() => joinPacket(web1, { ...claims, requester: ip('10.78.0.5') }))).toBe('wrong-link');
  });

  test('when any one bit of it was changed', () => {
    const message = joinMessage(web1, claims);
    const reasons = new Map<string, number>();
    for (let bit = 0; bit < message.length * 8; bit += 1) {
      const changed = message.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const reason = String(afterGoodMessage(changed));
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    // The checksum finds each of them.
    expect([...reasons]).toEqual([['malformed', message.length * 8]]);
  });

  test('when any one byte of it was changed and its checksum made right', () => {
    const message = joinMessage(web1, claims);
    const reasons = new Set<string>();
    for (let at = 0; at < message.length; at++) {
      if (at === 2 || at === 3) continue;
      const changed = message.slice();
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      changed.set([0, 0], 2);
      let sum = 0;
      for (let i = 0; i < changed.length; i += 2) sum += (changed[i] ?? 0) * 256 + (changed[i + 1] ?? 0);
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
      changed.set([(~sum >> 8) & 0xff, ~sum & 0xff], 2);
      const reason = afterGoodMessage(changed);
      expect(typeof reason, `byte ${at}`).toBe('string');
      reasons.add(String(reason));
    }
    expect([...reasons].sort()).toEqual([
      ...['certificate', 'malformed', 'no-key', 'not-timely', 'signature', 'unsigned', 'wrong-link'],
    ]);
  });

  const once = checks({ ...joinChecksDefaults, unknown: { perSecond: 1e6, burst: 1e6 } });
  accepted(once.receive(joinPacket(web1, { ...good, epoch: 5 }), 'lan', now));
  function afterGoodMessage(message: Uint8Array) {
    return outcome(once.receive(packetOf(message), 'lan', now));
  }

  test('with the certificate of another group', () => {
    const other = new PrivateGroup('site2', ip('239.1.9.10'));
    const admissions = [site.admission, other.admission];
    expect(afterGood(() => joinPacket(other.web1, claims), { admissions })).toBe('certificate');
    // Even when one authority has signed for both.
    const stranger = site.member('web3', '10.77.0.23', { cluster: 'site2' });
    expect(afterGood(() => joinPacket(stranger, claims))).toBe('certificate');
  });

  test('with a certificate that is over, not yet good, revoked, or an authority', () => {
    const over = site.member('web1', '10.77.0.21', { lifetime: lifetime(-2, -1) });
    const early = site.member('web1', '10.77.0.21', { lifetime: lifetime(1, 2) });
    const authority = { ...web1, certificate: new X509Certificate(site.authority.certificate).raw };
    for (const member of [over, early, authority]) {
      expect(afterGood(() => joinPacket(member, claims))).toBe('certificate');
    }
    const serial = new X509Certificate(web1.certificate).serialNumber;
    const revoked = [{ ...site.admission, revokedSerials: new Set([`00:${serial.toLowerCase()}`]) }];
    expect(outcome(checks(joinChecksDefaults, revoked).receive(joinPacket(web1, claims), 'lan', now))).toBe(
      'certificate',
    );
  });

  test('for a group of which the registry has proven nothing, or whose authority is no good', () => {
    const ofNobody = { ...claims, group: ip('239.9.9.9') };
    expect(afterGood(() => joinPacket(web1, ofNobody))).toBe('no-key');
    const dead = authorityUnderTest('site1', lifetime(-3, -2));
    for (const authority of ['', dead.certificate, authorityUnderTest('site2').certificate]) {
      const all = checks(joinChecksDefaults, [{ ...site.admission, authority }]);
      expect(outcome(all.receive(joinPacket(web1, claims), 'lan', now))).toBe('no-key');
    }
  });

  test('under an epoch that its sender has left behind', () => {
    expect(afterGood(() => joinPacket(web1, { ...claims, epoch: 4 }))).toBe('stale-epoch');
  });

  test('when nobody has signed it, as the report of a kernel', () => {
    const plain = encodeReport('to-exclude', group, null);
    const filters = encodeReport('to-exclude', group, share(1, 2, 3, 4));
    for (const report of [plain, filters]) {
      expect(afterGood(() => packetOf(report.ok ? report.value : new Uint8Array()))).toBe('unsigned');
    }
    expect(afterGood(() => keylessPacket({ timeMs: nowMs, epoch: 9 }))).toBe('unsigned');
    expect(afterGood(() => packetOf(Uint8Array.from(Buffer.from('1600f1f5ef010909', 'hex'))))).toBe('malformed');
    expect(afterGood(() => packetOf(Uint8Array.from(Buffer.from('1600f1f4ef010909', 'hex'))))).toBe('unsigned');
  });

  test('when it is no packet of IGMP', () => {
    expect(afterGood(() => new Uint8Array(40))).toBe('malformed');
  });
});

describe('what a router answers for', () => {
  test('a revoked certificate does not count from then on, also one that is known', () => {
    const admission = { ...site.admission };
    const all = checks(joinChecksDefaults, [admission]);
    accepted(all.receive(joinPacket(web1, good), 'lan', now));
    admission.revokedSerials = new Set([new X509Certificate(web1.certificate).serialNumber]);
    expect(outcome(all.receive(joinPacket(web1, good), 'lan', now))).toBe('certificate');
    accepted(all.receive(joinPacket(web2, good), 'lan', now));
  });

  test('the list of revoked certificates is read once, however many forged joins come', () => {
    let readings = 0;
    class List extends Set<string> {
      override [Symbol.iterator]() {
        readings++;
        return super[Symbol.iterator]();
      }
    }
    const all = checks(joinChecksDefaults, [{ ...site.admission, revokedSerials: new List(['a1b']) }]);
    accepted(all.receive(joinPacket(web1, good), 'lan', now));
    const forger = { ...web2, certificate: web1.certificate, address: web1.address };
    for (let i = 0; i < 20; i++) expect(outcome(all.receive(joinPacket(forger, good), 'lan', now))).toBe('signature');
    expect(readings).toBe(1);
  });

  test('a certificate of an authority that was changed does not count, also one that is known', () => {
    const admission = { ...site.admission };
    const all = checks(joinChecksDefaults, [admission]);
    accepted(all.receive(joinPacket(web1, good), 'lan', now));
    admission.authority = authorityUnderTest('site1').certificate;
    expect(outcome(all.receive(joinPacket(web1, good), 'lan', now))).toBe('certificate');
  });

  test('a public group takes every join, signed or not, and leaves', () => {
    const all = checks(joinChecksDefaults, [{ ...site.admission, isPublic: true, authority: '' }]);
    const permit = share(4);
    const reports = [encodeReport('is-exclude', group, permit), encodeReport('to-include', group, null)];
    const results = reports.map((each) => all.receive(packetOf(each.ok ? each.value : new Uint8Array()), 'lan', now));
    const said = { group, link: 'lan', address: web1.address, replica: null, serial: null, epoch: 0, timeMs: nowMs };
    expect(results.map(accepted)).toEqual([
      { ...said, isLeave: false, filters: permit },
      { ...said, isLeave: true, filters: { permit: [], prohibit: [] } },
    ]);
    // Whatever time it says: nobody has proven that.
    const signed = joinPacket(web1, { epoch: 3, timeMs: 7 });
    expect(accepted(all.receive(signed, 'lan', now))).toMatchObject({ replica: null, epoch: 3, timeMs: nowMs });
    const keyless = keylessPacket({ timeMs: 8, epoch: 4 });
    expect(accepted(all.receive(keyless, 'lan', now))).toMatchObject({ replica: null, epoch: 4, timeMs: nowMs });
    expect(outcome(all.receive(keyless, 'other', now))).toBe('wrong-link');
  });

  test('a query is given out, unless its sender is not of the link', () => {
    const query = encodeQuery({
      ...{ group: null, maxResponseMs: 1000, suppress: false, robustness: 2, intervalMs: 125_000, sources: [] },
    });
    const all = checks();
    expect(all.receive(packetOf(query), 'lan', now)).toMatchObject({ kind: 'query', source: web1.address });
    expect(outcome(all.receive(packetOf(query), 'other', now))).toBe('wrong-link');
    expect(outcome(all.receive(packetOf(query, ip('0.0.0.0')), 'other', now))).toBe('query');
  });

  test('refusals are counted by reason, and say who', () => {
    const all = checks();
    all.receive(new Uint8Array(3), 'lan', now);
    all.receive(new Uint8Array(4), 'lan', now);
    const judgement = all.receive(joinPacket(web1, { timeMs: nowMs - 40_000 }), 'lan', now);
    expect(judgement).toMatchObject({
      refusals: [{ detail: 'join of 10.77.0.21 on lan to 239.1.9.9: 40000 ms too old' }],
    });
    expect([...all.refused]).toEqual([
      ['malformed', 2],
      ['not-timely', 1],
    ]);
  });
});

describe('before signatures are checked', () => {
  const rates = { ...joinChecksDefaults, unknown: { perSecond: 10, burst: 2 }, known: { perSecond: 10, burst: 3 } };
  const forgedOf = (member: typeof web1) => joinPacket({ ...member, privateKey: web2.privateKey }, good);

  test('those with unknown certificates are few, and take nothing from members that are known', () => {
    const all = checks(rates);
    accepted(all.receive(joinPacket(web1, good), 'lan', now));
    const forged = (): string => {
      const certificate = web2.certificate.slice();
      certificate.set([1, 2, 3], 400);
      return String(outcome(all.receive(joinPacket(web2, { ...good, certificate }), 'lan', now)));
    };
    expect([forged(), forged(), forged()]).toEqual(['certificate', 'rate-limit', 'rate-limit']);
    accepted(all.receive(joinPacket(web1, good), 'lan', now));
    expect(outcome(all.receive(joinPacket(web2, good), 'lan', now))).toBe('rate-limit');
    accepted(all.receive(joinPacket(web2, good), 'lan', instant(nowMs + 100)));
  });

  test('those in the name of one member take nothing from another', () => {
    const all = checks(rates);
    accepted(all.receive(joinPacket(web1, good), 'lan', now));
    accepted(all.receive(joinPacket(web2, good), 'lan', now));
    const flood = Array.from({ length: 5 }, () => outcome(all.receive(forgedOf(web1), 'lan', now)));
    expect(flood).toEqual(['signature', 'signature', 'signature', 'rate-limit', 'rate-limit']);
    accepted(all.receive(joinPacket(web2, good), 'lan', now));
    accepted(all.receive(joinPacket(web1, good), 'lan', instant(nowMs + 100)));
  });

  test('no more are taken than can be remembered', () => {
    const all = checks({ ...rates, keysMax: 2 });
    accepted(all.receive(joinPacket(web1, good), 'lan', now));
    accepted(all.receive(joinPacket(web2, good), 'lan', now));
    expect(outcome(all.receive(joinPacket(web2, good), 'lan', now))).toBe('rate-limit');
    const later = nowMs + 60_001;
    accepted(all.receive(joinPacket(web2, { timeMs: later }), 'lan', instant(later)));
  });
});
