import { describe, expect, test } from 'vitest';
import { ok, type Result, refuse } from '../../src/base/result.ts';
import { KnownMembers, type MemberCertificate } from '../../src/identity/known-members.ts';

/** What stands in a certificate here: the name of a replica, its serial number, and when it ends. */
const certificate = (name: string, serial: number, notAfter = 1e6): Uint8Array =>
  new TextEncoder().encode(`${name} ${serial} ${notAfter}`);

function book(overrides: { readonly peers?: readonly string[] } = {}) {
  const seen = { now: 0, revoked: new Set<string>(), reads: 0 };
  const members = new KnownMembers<string>({
    cluster: 'site1',
    peers: overrides.peers ?? ['r1', 'r2'],
    revokedSerials: () => seen.revoked,
    now: () => seen.now,
    fingerprintOf: textOf,
    read(der): Result<MemberCertificate<string>> {
      seen.reads++;
      const [replica = '', serial = '', notAfter] = textOf(der).split(' ');
      if (replica === 'damaged') return refuse('certificate malformed');
      return ok({
        member: { cluster: 'site1', replica },
        serial,
        notBefore: -1,
        notAfter: Number(notAfter),
        key: serial,
      });
    },
  });
  return { seen, members };
}

function textOf(der: Uint8Array): string {
  return new TextDecoder().decode(der);
}

describe('the certificates of members', () => {
  test('are read once, however often they are shown', () => {
    const { members, seen } = book();
    for (let i = 0; i < 100; i++) expect(members.introduce('r1', certificate('r1', 1))).toBe(null);
    expect(seen.reads).toBe(1);
    expect(members.keyOf('r1', textOf(certificate('r1', 1)))).toEqual(ok('1'));
    expect(members.keyOf('r2', textOf(certificate('r1', 1)))).toEqual(refuse('certificate not known'));
    expect(members.version).toBe(1);
  });

  test('that are refused are not read again for a while, and then are', () => {
    const { members, seen } = book();
    const shown = ['damaged', 'r2'].map((name) => certificate(name, 1));
    const reasons = () => shown.map((each) => members.introduce('r1', each));
    for (let i = 0; i < 100; i++) expect(reasons()).toEqual(['certificate malformed', 'certificate of another name']);
    expect(seen.reads).toBe(2);
    seen.now = 1000;
    reasons();
    expect(seen.reads).toBe(4);
  });

  test('are read no more than so many a second, and others have their turn in the next', () => {
    const { members, seen } = book();
    for (let i = 0; i < 1000; i++) members.introduce('r1', certificate('damaged', i));
    expect(seen.reads).toBe(64);
    expect(members.introduce('r2', certificate('r2', 1))).toBe('too many certificates');
    seen.now = 1000;
    expect(members.introduce('r2', certificate('r2', 1))).toBe(null);
  });

  test('are four of one name at most, and those that are not used are forgotten first', () => {
    const { members } = book();
    for (let serial = 1; serial <= 9; serial++) {
      members.introduce('r1', certificate('r1', serial));
      if (serial === 2) members.used('r1', textOf(certificate('r1', 2)));
    }
    expect(members.all().map(({ der }) => textOf(der).split(' ')[1])).toEqual(['7', '8', '9', '2']);
  });

  test('are those of peers', () => {
    const { members, seen } = book();
    expect(members.introduce('r9', certificate('r9', 1))).toBe('certificate of no peer');
    expect(seen.reads).toBe(0);
  });

  test('are not believed once they are revoked or over, whoever has shown them before', () => {
    const { members, seen } = book();
    const [first, second] = [certificate('r1', 1), certificate('r1', 2, 50)];
    members.introduce('r1', first);
    members.introduce('r1', second);
    seen.revoked = new Set(['1']);
    expect(members.keyOf('r1', textOf(first))).toEqual(refuse('certificate revoked'));
    expect(members.introduce('r1', first)).toBe('certificate revoked');
    // It has another that is good.
    expect(members.revokedNames()).toEqual([]);
    seen.now = 51;
    expect(members.keyOf('r1', textOf(second))).toEqual(refuse('certificate expired'));
    expect(members.revokedNames()).toEqual(['r1']);
  });
});
