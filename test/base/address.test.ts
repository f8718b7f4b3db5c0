import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatIp, ipAddress, ipBytes, ipFromBytes, isMulticast, parseIp, sameIp } from '../../src/base/address.ts';

function parsed(text: string): string {
  const result = parseIp(text);
  return result.ok ? formatIp(result.value) : result.reason;
}

describe('IP addresses', () => {
  // RFC 5952, sections 1 to 4.
  test.each([
    ['10.77.0.100', '10.77.0.100'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:DB8::ABCD', '2001:db8::abcd'],
    ['::', '::'],
    ['::1', '::1'],
    ['fe80::', 'fe80::'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
  ])('%s is written %s', (text, canonical) => {
    expect(parsed(text)).toBe(canonical);
  });

  test.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '256.0.0.1',
    '01.2.3.4',
    '1.2.3.-4',
    ' 1.2.3.4',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8:9',
    '12345::',
    'g::',
    'fe80::1%eth0',
    '::1.2.3.256',
  ])('"%s" is no address', (text) => {
    expect(parsed(text)).toBe(`"${text}" is not an IP address`);
  });

  const addresses = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value) => ipAddress(4, value)),
    fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value) => ipAddress(6, value)),
  );

  test('text and bytes read back to the same address', () => {
    fc.assert(
      fc.property(addresses, (address) => {
        const back = parseIp(formatIp(address));
        return back.ok && sameIp(back.value, address) && sameIp(ipFromBytes(ipBytes(address)), address);
      }),
    );
  });

  test('any text is an address or refused, never an error', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9a-f:.]{0,45}$/), (text) => {
        const result = parseIp(text);
        return result.ok ? parseIp(formatIp(result.value)).ok : result.reason.length > 0;
      }),
    );
  });

  test.each([
    ['224.0.0.1', true],
    ['239.255.255.255', true],
    ['223.255.255.255', false],
    ['240.0.0.0', false],
    ['ff02::1', true],
    ['fe80::1', false],
  ])('%s is multicast: %s', (text, multicast) => {
    const address = parseIp(text);
    expect(address.ok && isMulticast(address.value)).toBe(multicast);
  });
});
