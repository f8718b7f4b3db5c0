import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import {
  decodeSocketImage,
  encodeSocketImage,
  imageBytesMax,
  queueBytesMax,
  type SocketImage,
} from '../../src/handoff/socket-image.ts';

const u32 = fc.nat(2 ** 32 - 1);
const port = fc.integer({ min: 1, max: 65535 });
const scale = fc.nat(14);

/** Any image that the kernel would take. */
const image: fc.Arbitrary<SocketImage> = fc
  .record({
    addresses: fc.oneof(
      fc.tuple(fc.constant(4 as const), fc.bigInt(1n, 0xdfffffffn), fc.bigInt(1n, 0xdfffffffn)),
      fc.tuple(fc.constant(6 as const), fc.bigInt(1n, 2n ** 127n), fc.bigInt(1n, 2n ** 127n)),
    ),
    ports: fc.tuple(port, port),
    sequences: fc.tuple(u32, u32),
    queues: fc.tuple(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 })),
    unsent: fc.nat(300),
    mss: fc.integer({ min: 48, max: 65535 }),
    scales: fc.tuple(scale, scale),
    selectiveAcks: fc.boolean(),
    timestamp: fc.option(u32),
    windows: fc.tuple(u32, u32, fc.nat(2 ** 30), fc.nat(2 ** 30), fc.nat(2 ** 30)),
  })
  .map(({ addresses: [family, local, remote], ports, sequences, queues, unsent, mss, scales, windows, ...rest }) => {
    const next = sequences[1] + queues[1].length;
    return {
      ...rest,
      ...{ local: ipAddress(family, local), localPort: ports[0] },
      ...{ remote: ipAddress(family, remote), remotePort: ports[1] },
      ...{ sendSequence: sequences[0], sendQueue: queues[0], unsentBytes: Math.min(unsent, queues[0].length) },
      ...{ receiveSequence: sequences[1], receiveQueue: queues[1] },
      ...{ mss, sendScale: scales[0], receiveScale: scales[1] },
      window: {
        sendUpdate: (next + windows[2] - windows[3]) >>> 0,
        send: Math.min(windows[0], windows[1]),
        sendMax: Math.max(windows[0], windows[1]),
        receive: windows[2],
        receiveUpdate: (next - windows[4]) >>> 0,
      },
    };
  });

const small: SocketImage = {
  ...{ local: ipAddress(4, 0x0a090064n), localPort: 80, remote: ipAddress(4, 0x0a090003n), remotePort: 50000 },
  ...{ sendSequence: 0xfffffffe, sendQueue: Uint8Array.of(1, 2, 3, 4), unsentBytes: 1 },
  ...{ receiveSequence: 0xffffffff, receiveQueue: Uint8Array.of(9, 8) },
  ...{ mss: 1460, sendScale: 7, receiveScale: 10, selectiveAcks: true, timestamp: 77 },
  window: { sendUpdate: 1, send: 500, sendMax: 600, receive: 700, receiveUpdate: 0 },
};
const smallBytes = encodeSocketImage(small);
const reasonOf = (bytes: Uint8Array): string | null => {
  const result = decodeSocketImage(bytes);
  return result.ok ? null : result.reason;
};

test('every image is read as it was written', () => {
  fc.assert(
    fc.property(image, (value) => {
      expect(decodeSocketImage(encodeSocketImage(value))).toEqual({ ok: true, value });
    }),
  );
});

test('an image with two queues of the largest size is read as it was written', () => {
  const full = new Uint8Array(queueBytesMax).fill(7);
  const bytes = encodeSocketImage({ ...small, sendQueue: full, receiveQueue: full, receiveSequence: 0 });
  expect(bytes.length).toBeLessThanOrEqual(imageBytesMax);
  const result = decodeSocketImage(bytes);
  expect(result.ok && [result.value.sendQueue.length, result.value.receiveQueue.length]).toEqual([
    queueBytesMax,
    queueBytesMax,
  ]);
});

test('no bytes are half understood: each prefix and each addition is refused', () => {
  for (let length = 0; length < smallBytes.length; length++) {
    expect(reasonOf(smallBytes.subarray(0, length))).toMatch(/bytes wanted/);
  }
  expect(reasonOf(Uint8Array.of(...smallBytes, 0))).toBe('1 bytes left over');
});

test('bytes changed by somebody are refused, or are an image that reads the same again', () => {
  fc.assert(
    fc.property(fc.nat(smallBytes.length - 1), fc.nat(255), (at, value) => {
      const bytes = smallBytes.slice();
      bytes[at] = value;
      const result = decodeSocketImage(bytes);
      if (result.ok) expect(encodeSocketImage(result.value)).toEqual(bytes);
      else expect(result.reason).not.toBe('');
    }),
  );
});

describe('refused with the field that is wrong', () => {
  const sendQueueAt = 1 + 5 + 2 + 5 + 2 + 4;
  const patched = (at: number, ...values: number[]): Uint8Array => {
    const bytes = smallBytes.slice();
    bytes.set(values, at);
    return bytes;
  };
  const tail = smallBytes.length - 20;

  test.each<[string, Uint8Array, string]>([
    ['another version', patched(0, 2), 'version: another one'],
    ['an unknown family', patched(1, 5), 'local: family 5'],
    ['an address of many', patched(2, 239), 'local: not the address of one host'],
    ['no port', patched(6, 0, 0), 'localPort: not a port'],
    ['a queue over the bound', patched(sendQueueAt, 0, 0x80, 0, 1), 'sendQueue: 8388609 bytes, at most 8388608'],
    ['a queue that is not there', patched(sendQueueAt, 0, 0x7f, 0, 0), 'sendQueue: 8323072 bytes wanted, 48 left'],
    ['more unsent than queued', patched(sendQueueAt + 8, 0, 0, 0, 5), 'unsentBytes: more than the send queue'],
    ['an MSS too small', patched(tail - 10, 0, 47), 'mss: 47, at least 48'],
    ['a scale too large', patched(tail - 8, 15), 'sendScale: 15, at most 14'],
    ['neither with nor without timestamps', patched(tail - 5, 2), 'timestamp: 2 is neither 0 nor 1'],
    ['a window never announced', patched(tail + 8, 0, 0, 0, 1), 'window: send exceeds sendMax'],
    ['a window from the future', patched(tail, 0, 0, 9, 0), 'window: sendUpdate has not arrived'],
    ['an acknowledgement from the future', patched(tail + 16, 0, 0, 0, 2), 'window: receiveUpdate has not arrived'],
  ])('%s', (_what, bytes, reason) => {
    expect(reasonOf(bytes)).toBe(reason);
  });

  test('more bytes than any image has', () => {
    expect(reasonOf(new Uint8Array(imageBytesMax + 1))).toBe(`${imageBytesMax + 1} bytes, at most ${imageBytesMax}`);
  });
});
