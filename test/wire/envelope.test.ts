import { createHmac, timingSafeEqual } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bodyBytesMax, datagramBytesMax, openEnvelope, sealEnvelope } from '../../src/wire/envelope.ts';

const clusterId = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
const hmac = (bytes: Uint8Array) => new Uint8Array(createHmac('sha256', 'key').update(bytes).digest());
const verify = (bytes: Uint8Array, mac: Uint8Array) => timingSafeEqual(hmac(bytes), mac);
const envelope = { sender: 'r1', session: 7, counter: 0, body: Uint8Array.from([9, 9]) };
const sealed = sealEnvelope({ ...envelope, clusterId }, hmac);

describe('an envelope', () => {
  test('gives back what was sealed', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/),
        fc.nat(2 ** 48 - 1),
        fc.nat(2 ** 48 - 1),
        fc.uint8Array({ maxLength: bodyBytesMax }),
        (sender, session, counter, body) => {
          const datagram = sealEnvelope({ clusterId, sender, session, counter, body }, hmac);
          expect(datagram.length).toBeLessThanOrEqual(datagramBytesMax);
          expect(openEnvelope(datagram, { clusterId, verify })).toEqual({
            ok: true,
            value: { sender, session, counter, body },
          });
        },
      ),
    );
  });

  test('has a layout that stays', () => {
    const hex = Buffer.from(sealed.slice(0, -32)).toString('hex');
    expect(hex).toBe(`01${'0102030405060708'}${'0002'}7231${'000000000007'}${'000000000000'}0909`);
  });

  test('is refused with any bit changed, and with any byte missing', () => {
    for (let at = 0; at < sealed.length; at++) {
      const changed = sealed.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(openEnvelope(changed, { clusterId, verify }).ok).toBe(false);
      expect(openEnvelope(sealed.slice(0, at), { clusterId, verify }).ok).toBe(false);
    }
  });

  test('of another cluster, version or size is refused before the authentication code is computed', () => {
    const unasked = () => expect.unreachable('verify was called');
    const keys = { clusterId, verify: unasked };
    const other = { clusterId: Uint8Array.from([8, 8, 8, 8, 8, 8, 8, 8]), verify: unasked };
    expect(openEnvelope(sealed, other)).toEqual({ ok: false, reason: 'another cluster' });
    expect(openEnvelope(Uint8Array.from([2, ...sealed.slice(1)]), keys)).toEqual({
      ok: false,
      reason: 'another version',
    });
    expect(openEnvelope(new Uint8Array(datagramBytesMax + 1), keys).ok).toBe(false);
    expect(openEnvelope(new Uint8Array(10), keys).ok).toBe(false);
  });

  test('that is not authentic is not parsed, whatever it says', () => {
    const forged = Uint8Array.from(sealed);
    forged.set([0xff, 0xff], 9);
    expect(openEnvelope(forged, { clusterId, verify: () => false })).toEqual({ ok: false, reason: 'not authentic' });
  });

  test('that is authentic but makes no sense is refused, not thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 24 + 32, maxLength: 200 }), (bytes) => {
        bytes.set([1, ...clusterId]);
        const opened = openEnvelope(bytes, { clusterId, verify: () => true });
        if (!opened.ok) expect(opened.reason).toMatch(/sender/);
      }),
    );
  });
});
