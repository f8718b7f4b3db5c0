import { createHmac, timingSafeEqual } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  bodyBytesMax,
  certificateBytesMax,
  datagramBytesMax,
  type Form,
  openEnvelope,
  type Signing,
  sealEnvelope,
  sealIntroduction,
} from '../../src/wire/envelope.ts';

const clusterId = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
const hmac = (bytes: Uint8Array) => new Uint8Array(createHmac('sha256', 'key').update(bytes).digest());
const verify = (bytes: Uint8Array, mac: Uint8Array) => timingSafeEqual(hmac(bytes), mac);
const fingerprint = Uint8Array.from([0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7]);
/** Tells what it signed by its first 32 bytes. */
const signing: Signing = {
  fingerprint,
  sign: (bytes) =>
    Uint8Array.from([...createHmac('sha256', 'member').update(bytes).digest(), ...Array(224).fill(0xee)]),
};
const envelope = { clusterId, sender: 'r1', session: 7, counter: 0, body: Uint8Array.from([9, 9]) };
const sealed: Readonly<Record<Form, Uint8Array>> = {
  unsigned: sealEnvelope(envelope, hmac, null),
  signed: sealEnvelope(envelope, hmac, signing),
  introduction: sealIntroduction(envelope, hmac),
  keyring: sealEnvelope(envelope, hmac, signing, 'keyring'),
};
const hasSignature = (form: Form): boolean => form === 'signed' || form === 'keyring';
const forms = Object.keys(sealed) as Form[];

function seal(form: Form, content: typeof envelope): Uint8Array {
  if (form === 'introduction') return sealIntroduction(content, hmac);
  return form === 'unsigned' ? sealEnvelope(content, hmac, null) : sealEnvelope(content, hmac, signing, form);
}

describe.each(forms)('an envelope, %s', (form) => {
  test('gives back what was sealed, and what its signature is over', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/),
        fc.nat(2 ** 48 - 1),
        fc.nat(2 ** 48 - 1),
        fc.uint8Array({ maxLength: form === 'introduction' ? certificateBytesMax : bodyBytesMax }),
        (sender, session, counter, body) => {
          const datagram = seal(form, { clusterId, sender, session, counter, body });
          expect(datagram.length).toBeLessThanOrEqual(datagramBytesMax);
          const over = datagram.slice(0, -32 - 256);
          const signature = hasSignature(form) ? { fingerprint, over, bytes: signing.sign(over) } : null;
          expect(openEnvelope(datagram, { clusterId, verify })).toEqual({
            ok: true,
            value: { sender, session, counter, form, body, signature },
          });
        },
      ),
    );
  });

  test('has a layout that stays', () => {
    const head = `02${'0102030405060708'}${'0002'}7231${'000000000007'}${'000000000000'}`;
    const rest = {
      unsigned: '000909',
      signed: `010909${'f0f1f2f3f4f5f6f7'}`,
      introduction: '020909',
      keyring: `030909${'f0f1f2f3f4f5f6f7'}`,
    }[form];
    const hex = Buffer.from(sealed[form].slice(0, hasSignature(form) ? -32 - 256 : -32)).toString('hex');
    expect(hex).toBe(`${head}${rest}`);
  });

  test('is refused with any bit changed, and with any byte missing', () => {
    const datagram = sealed[form];
    fc.assert(
      fc.property(fc.nat(datagram.length * 8 - 1), (bit) => {
        const changed = datagram.slice();
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(openEnvelope(changed, { clusterId, verify }).ok).toBe(false);
        expect(openEnvelope(datagram.slice(0, bit >> 3), { clusterId, verify }).ok).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });

  test('of another cluster, version or size is refused before the authentication code is computed', () => {
    const unasked = () => expect.unreachable('verify was called');
    const keys = { clusterId, verify: unasked };
    const other = { clusterId: Uint8Array.from([8, 8, 8, 8, 8, 8, 8, 8]), verify: unasked };
    expect(openEnvelope(sealed[form], other)).toEqual({ ok: false, reason: 'another cluster' });
    expect(openEnvelope(Uint8Array.from([1, ...sealed[form].slice(1)]), keys)).toEqual({
      ok: false,
      reason: 'another version',
    });
    expect(openEnvelope(new Uint8Array(datagramBytesMax + 1), keys).ok).toBe(false);
    expect(openEnvelope(new Uint8Array(10), keys).ok).toBe(false);
  });

  test('that is not authentic is not parsed, whatever it says', () => {
    const forged = Uint8Array.from(sealed[form]);
    forged.set([0xff, 0xff], 9);
    expect(openEnvelope(forged, { clusterId, verify: () => false })).toEqual({ ok: false, reason: 'not authentic' });
  });
});

test('an envelope that is authentic but makes no sense is refused, not thrown', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 25 + 32, maxLength: 400 }), (bytes) => {
      bytes.set([2, ...clusterId]);
      const opened = openEnvelope(bytes, { clusterId, verify: () => true });
      if (!opened.ok) expect(opened.reason).toMatch(/sender|form|signature/);
    }),
  );
});

test('the shortest signed datagram whose signature is cut short is refused, not read into what is before it', () => {
  const cut = sealed.signed.slice(0, -32 - 1);
  const opened = openEnvelope(Uint8Array.from([...cut, ...hmac(cut)]), { clusterId, verify });
  // Its two bytes of body are one then, and the signature begins a byte too early: it is over something else.
  expect(opened).toMatchObject({ ok: true, value: { body: Uint8Array.of(9) } });
  const gone = sealed.signed.slice(0, 26);
  expect(openEnvelope(Uint8Array.from([...gone, ...hmac(gone)]), { clusterId, verify })).toEqual({
    ok: false,
    reason: 'signature: cut short',
  });
});
