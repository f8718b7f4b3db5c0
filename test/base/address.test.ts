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
    ['1:0:2:0:3:0:4:0', '1:0:2:0:3:0:4:0'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    ['0:0:1::', '0:0:1::'],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4:5:6:c000:201'],
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
    '1.2.3.4 ',
    '1..2.3',
    '0x1.2.3.4',
    '0001.2.3.4',
    ':',
    ':1',
    '1:',
    '1::2:',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8:9',
    '12345::',
    'g::',
    'fe80::1%eth0',
    '::1.2.3.256',
    '1.2.3.4::',
    '1:2:3:4:5:6:7:1.2.3.4',
    '[::1]',
    '::1/128',
  ])('"%s" is no address', (text) => {
    expect(parsed(text)).toBe(`"${text}" is not an IP address`);
  });

  test('a refusal is one line of bounded length, whatever the text', () => {
    expect(parsed('10.0.0.1\n')).toBe('"10.0.0.1\\u000a" is not an IP address');
    expect(parsed(`:${'1'.repeat(10_000)}`)).toBe(`":${'1'.repeat(59)}…" is not an IP address`);
  });

  test('what is no address by its width is a defect of the caller', () => {
    expect(() => ipAddress(4, 1n << 32n)).toThrow('address value fits 32 bits');
    expect(() => ipAddress(6, -1n)).toThrow('address value fits 128 bits');
    expect(() => ipFromBytes(new Uint8Array(5))).toThrow('an address has 4 or 16 bytes');
  });

  test('the same number in two families is two addresses', () => {
    expect(sameIp(ipAddress(4, 1n), ipAddress(6, 1n))).toBe(false);
  });

  const addresses = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value) => ipAddress(4, value)),
    fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value) => ipAddress(6, value)),
    // Runs of zeros, which is what "::" is about.
    fc.array(fc.constantFrom<bigint[]>(0n, 0n, 1n, 0xffffn), { minLength: 8, maxLength: 8 }).map((groups) =>
      ipAddress(
        6,
        groups.reduce((value, group) => (value << 16n) | group, 0n),
      ),
    ),
  );

  test('one address has one text: lower case, no leading zeros, the longest run of zeros left out', () => {
    fc.assert(
      fc.property(addresses, (address) => {
        fc.pre(address.family === 6);
        const text = formatIp(address);
        expect(text).toMatch(/^[0-9a-f:]+$/);
        expect(text).not.toMatch(/(^|:)0[0-9a-f]/);
        const [, left = '', right = ''] = /^(.*)::(.*)$/.exec(text) ?? [];
        const leftOut = text.includes('::') ? 8 - `${left}:${right}`.split(':').filter(Boolean).length : 1;
        const runs = text
          .split(':')
          .map((group) => (group === '0' ? '0' : ' '))
          .join('')
          .split(' ');
        expect(leftOut).toBeGreaterThanOrEqual(Math.max(...runs.map((run) => run.length)));
        expect(leftOut === 1 && text.includes('::')).toBe(false);
      }),
    );
  });

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
