import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressOf, ipAddress } from '../../src/base/address.ts';
import { broadcastMac, macBytes, macFromBytes, multicastMac } from '../../src/base/mac.ts';

test.each([
  // RFC 1112, section 6.4: the low 23 bits; the five above them are lost.
  ['239.77.0.100', '01:00:5e:4d:00:64'],
  ['224.205.0.100', '01:00:5e:4d:00:64'],
  ['239.255.255.255', '01:00:5e:7f:ff:ff'],
  // RFC 2464, section 7: the low 32 bits.
  ['ff02::1', '33:33:00:00:00:01'],
  ['ff02::1:ff12:3456', '33:33:ff:12:34:56'],
])('group %s is carried by %s', (group, mac) => {
  expect(multicastMac(addressOf(group))).toBe(mac);
});

test('a unicast address has no multicast link address', () => {
  expect(() => multicastMac(ipAddress(4, 1n))).toThrow('a group is a multicast address');
});

test('link addresses read back', () => {
  expect(macBytes(broadcastMac)).toEqual(new Uint8Array(6).fill(0xff));
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
      expect(macBytes(macFromBytes(bytes))).toEqual(bytes);
    }),
  );
});

test.each(['02:4D:43:00:ff:0b', '02:4d:43:00:ff', '02:4d:43:00:ff:0b:01', '024d4300ff0b', '02:4d:43:00:ff:g0', ''])(
  '"%s" is no link address',
  (text) => {
    expect(() => macBytes(text)).toThrow(`"${text}" is a link address`);
  },
);

test('five bytes are no link address', () => {
  expect(() => macFromBytes(new Uint8Array(5))).toThrow('a link address has 6 bytes');
});
