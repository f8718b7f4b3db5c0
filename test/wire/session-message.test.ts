import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { decodeSession, encodeSession, type SessionMessage } from '../../src/wire/session-message.ts';

const port = fc.integer({ min: 0, max: 65_535 });
const client = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value) => ipAddress(4, value));
const number = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const bytes = fc.uint8Array({ maxLength: 200 });
const message: fc.Arbitrary<SessionMessage> = fc.oneof(
  fc.record({
    ...{ kind: fc.constant('offer' as const), number, servicePort: port },
    sessions: fc.array(fc.record({ client, clientPort: port, state: bytes }), { maxLength: 64 }),
  }),
  fc.record({ kind: fc.constant('answer' as const), number, isTaken: fc.boolean() }),
  fc.record({ kind: fc.constant('withdraw' as const), number }),
  fc.record({ kind: fc.constant('pass' as const), client, clientPort: port, servicePort: port, datagram: bytes }),
);

test('a message is read as it was written, and no shorter or longer one', () => {
  fc.assert(
    fc.property(message, (value) => {
      const encoded = encodeSession(value);
      expect(decodeSession(encoded)).toEqual({ ok: true, value });
      expect(decodeSession(encoded.slice(0, -1)).ok).toBe(false);
      expect(decodeSession(Uint8Array.from([...encoded, 0])).ok).toBe(false);
    }),
  );
});

test('any bytes are read or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (any) => {
      expect(typeof decodeSession(any).ok).toBe('boolean');
    }),
  );
});
