import { createPrivateKey, verify, X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { authorityOf, memberOf } from '../../src/identity/member-name.ts';
import { readRevocationList, revocationList, revokedMax } from '../../src/identity/revocation-list.ts';
import { authorityUnderTest, lifetime } from './authority-under-test.ts';

const year = lifetime(0, 365);
const site = authorityUnderTest('site1', year);
const web1 = site.member('web1', { lifetime: year });
const authority = new X509Certificate(site.certificate);
const member = new X509Certificate(web1.certificate);

describe('the certificate of an authority', () => {
  test('names the cluster, and is one of an authority signed by itself', () => {
    expect([authority.subject, authority.issuer]).toEqual(['CN=manycast site1', 'CN=manycast site1']);
    expect(authority.subjectAltName).toBe('URI:manycast://site1');
    expect([authority.ca, authority.verify(authority.publicKey)]).toEqual([true, true]);
    expect(authorityOf(authority)).toEqual({ ok: true, value: 'site1' });
    expect(memberOf(authority).ok).toBe(false);
  });
});

describe('the certificate of a member', () => {
  test('names replica and cluster, and is signed by the authority', () => {
    expect([member.subject, member.issuer]).toEqual(['CN=web1', 'CN=manycast site1']);
    expect(member.subjectAltName).toBe('URI:manycast://site1/web1');
    expect([member.ca, member.checkIssued(authority), member.verify(authority.publicKey)]).toEqual([false, true, true]);
    expect(member.checkPrivateKey(createPrivateKey(web1.key))).toBe(true);
    expect(memberOf(member)).toEqual({ ok: true, value: { cluster: 'site1', replica: 'web1' } });
    expect(authorityOf(member).ok).toBe(false);
  });

  test('is good for clients and servers, from and until the times asked for', () => {
    expect(member.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    const seconds = (date: Date): number => Math.floor(date.getTime() / 1000) * 1000;
    expect([member.validFrom, member.validTo].map(Date.parse)).toEqual([year.notBefore, year.notAfter].map(seconds));
  });

  test('is not that of another authority of the same name', () => {
    const other = new X509Certificate(authorityUnderTest('site1').certificate);
    expect([member.checkIssued(other), member.verify(other.publicKey)]).toEqual([false, false]);
  });

  test('leaves room in one packet for the join that will carry it', () => {
    const longest = site.member('r'.repeat(32), { cluster: 'c'.repeat(32) });
    expect(new X509Certificate(longest.certificate).raw.length).toBeLessThan(1000);
  });
});

describe('a revocation list', () => {
  const now = new Date('2026-03-01T12:00:00Z');
  const serials = ['40'.repeat(16), '01'];
  const pem = revocationList({ authority: site, revoked: serials.map((serial) => ({ serial, at: now })), now });

  test('is read as it was written, and signed by the authority', () => {
    const read = readRevocationList(pem);
    if (!read.ok) throw new Error(read.reason);
    expect([...read.value.serials]).toEqual(serials);
    expect(verify('sha256', read.value.signed, authority.publicKey, read.value.signature)).toBe(true);
    const none = readRevocationList(revocationList({ authority: site, revoked: [], now }));
    expect(none.ok && [...none.value.serials]).toEqual([]);
  });

  test('of as many as are allowed is read by those who watch 128 KiB, twice over, and one more is refused', () => {
    const many = (count: number): string =>
      revocationList({
        authority: site,
        revoked: Array.from({ length: count }, (_, i) => ({
          serial: (0x4000 + i).toString(16).padStart(32, '4'),
          at: now,
        })),
        now,
      });
    const read = readRevocationList(many(revokedMax));
    expect(read.ok && read.value.serials.size).toBe(revokedMax);
    expect(2 * many(revokedMax).length).toBeLessThan(128 * 1024);
    expect(readRevocationList(many(revokedMax + 1))).toEqual({
      ok: false,
      reason: 'it revokes 1025 certificates, at most 1024',
    });
  });

  test('is refused, and nothing thrown, when bytes of it are changed, missing or others', () => {
    const der = Buffer.from(pem.replace(/-----.*-----/g, ''), 'base64');
    const wrap = (bytes: Uint8Array): string =>
      `-----BEGIN X509 CRL-----\n${Buffer.from(bytes).toString('base64')}\n-----END X509 CRL-----\n`;
    const verdict = (text: string): boolean => {
      const read = readRevocationList(text);
      return read.ok && verify('sha256', read.value.signed, authority.publicKey, read.value.signature);
    };
    expect(verdict(wrap(der))).toBe(true);
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changed = Uint8Array.from(der);
        changed[at] = (changed[at] ?? 0) ^ by;
        const same = readRevocationList(wrap(changed));
        // A byte of how things are said may not matter; what is said is the same then.
        if (verdict(wrap(changed))) expect(same.ok && [...same.value.serials]).toEqual(serials);
        expect(verdict(wrap(changed.subarray(0, at)))).toBe(false);
      }),
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => !verdict(wrap(bytes))));
    for (const text of ['', 'rubbish', pem + pem, site.certificate]) expect(readRevocationList(text).ok).toBe(false);
  });
});

describe('a name is refused', () => {
  const subject = 'CN=web1';
  test.each([
    ['without a URI', { subject }],
    ['with a URI of another kind', { subject, subjectAltName: 'URI:https://site1/web1' }],
    ['with a DNS name', { subject, subjectAltName: 'DNS:manycast://site1/web1' }],
    ['with a second URI', { subject, subjectAltName: 'URI:manycast://site1/web1, URI:manycast://site1/web2' }],
    ['of which a part is too long', { subject, subjectAltName: `URI:manycast://${'a'.repeat(33)}/web1` }],
    ['of which a part is empty', { subject: 'CN=', subjectAltName: 'URI:manycast://site1/' }],
    ['with a longer path', { subject, subjectAltName: 'URI:manycast://site1/web1/x' }],
    ['with a line after it', { subject, subjectAltName: 'URI:manycast://site1/web1\n' }],
  ])('%s', (_what, names) => {
    expect(memberOf(names)).toEqual({ ok: false, reason: 'it is not the certificate of a member' });
  });

  const subjectAltName = 'URI:manycast://site1/web1';
  test.each([['CN=web2'], ['CN=WEB1'], ['CN=web2\nCN=web1'], ['CN=web1\nO=x'], ['']])(
    'whose subject is %j',
    (other) => {
      expect(memberOf({ subject: other, subjectAltName })).toEqual({
        ok: false,
        reason: 'its common name is not the replica of its URI',
      });
    },
  );
});
