import { expect, test } from 'vitest';
import { ipAddress, parseIp } from '../../src/base/address.ts';
import { macBytes, macFromBytes, multicastMac } from '../../src/base/mac.ts';

test.each([
  // RFC 1112, section 6.4: the low 23 bits; the five above them are lost.
  ['239.77.0.100', '01:00:5e:4d:00:64'],
  ['224.205.0.100', '01:00:5e:4d:00:64'],
  ['239.255.255.255', '01:00:5e:7f:ff:ff'],
  // RFC 2464, section 7: the low 32 bits.
  ['ff02::1', '33:33:00:00:00:01'],
  ['ff02::1:ff12:3456', '33:33:ff:12:34:56'],
])('group %s is carried by %s', (group, mac) => {
  const address = parseIp(group);
  expect(address.ok && multicastMac(address.value)).toBe(mac);
});

test('a unicast address has no multicast link address', () => {
  expect(() => multicastMac(ipAddress(4, 1n))).toThrow('a group is a multicast address');
});

test('link addresses read back', () => {
  expect(macFromBytes(macBytes('02:4d:43:00:ff:0b'))).toBe('02:4d:43:00:ff:0b');
  expect(() => macBytes('02:4D:43:00:ff:0b')).toThrow('is a link address');
});
