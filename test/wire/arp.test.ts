import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipAddress, parseIp } from '../../src/base/address.ts';
import { defined } from '../../src/base/assert.ts';
import { macFromBytes } from '../../src/base/mac.ts';
import { type ArpPacket, decodeArp, encodeArp } from '../../src/wire/arp.ts';

const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes);
const ipv4 = fc.nat(2 ** 32 - 1).map((value) => ipAddress(4, BigInt(value)));
const packet: fc.Arbitrary<ArpPacket> = fc.record(
  {
    ethernetSource: mac,
    ethernetDestination: mac,
    operation: fc.constantFrom('request', 'reply'),
    senderMac: mac,
    senderIp: ipv4,
    targetMac: mac,
    targetIp: ipv4,
  },
  { noNullPrototype: true },
);

function ip(text: string): ArpPacket['senderIp'] {
  const parsed = parseIp(text);
  return defined(parsed.ok ? parsed.value : null, text);
}

// Who has 10.77.0.100? Tell 10.77.0.21: as a Linux host sends it, 42 bytes before padding.
const request = Uint8Array.from(
  Buffer.from(
    'ffffffffffff02000000001508060001080006040001020000000015' + '0a4d0015' + '000000000000' + '0a4d0064',
    'hex',
  ),
);
const asked: ArpPacket = {
  ethernetSource: '02:00:00:00:00:15',
  ethernetDestination: 'ff:ff:ff:ff:ff:ff',
  operation: 'request',
  senderMac: '02:00:00:00:00:15',
  senderIp: ip('10.77.0.21'),
  targetMac: '00:00:00:00:00:00',
  targetIp: ip('10.77.0.100'),
};

test('a request from the wire is read, with and without padding', () => {
  expect(decodeArp(request)).toEqual({ ok: true, value: asked });
  expect(decodeArp(Uint8Array.from([...request, ...Array(18).fill(0xee)]))).toEqual({ ok: true, value: asked });
});

test('a frame is written as the wire has it, padded to 60 bytes', () => {
  const frame = encodeArp(asked);
  expect(frame.length).toBe(60);
  expect(frame.subarray(0, 42)).toEqual(request);
  expect([...frame.subarray(42)].every((byte) => byte === 0)).toBe(true);
});

test('what is written is read back', () => {
  fc.assert(
    fc.property(packet, (value) => {
      expect(decodeArp(encodeArp(value))).toEqual({ ok: true, value });
    }),
  );
});

test('anything but ARP for IPv4 over Ethernet is refused by field, and nothing is thrown', () => {
  const changed = (at: number, byte: number) => {
    const frame = request.slice();
    frame[at] = byte;
    return decodeArp(frame);
  };
  expect(changed(12, 0x86)).toMatchObject({ ok: false, reason: expect.stringContaining('ether type') });
  expect(changed(15, 6)).toMatchObject({ ok: false, reason: expect.stringContaining('hardware type') });
  expect(changed(18, 16)).toMatchObject({ ok: false, reason: expect.stringContaining('hardware length') });
  expect(changed(21, 3)).toEqual({ ok: false, reason: 'operation: 3 is neither request nor reply' });
  for (let length = 0; length < request.length; length++) expect(decodeArp(request.subarray(0, length)).ok).toBe(false);
  expect(decodeArp(new Uint8Array(1515)).ok).toBe(false);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void decodeArp(bytes)));
});
