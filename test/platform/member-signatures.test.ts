import { X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { certificateReader } from '../../src/platform/member-signatures.ts';
import { authorityUnderTest } from '../identity/authority-under-test.ts';

test('while the authority changes members of both are read, and of no third', () => {
  const [before, after, third] = [1, 2, 3].map(() => authorityUnderTest('site1'));
  const read = certificateReader(`${before?.certificate}${after?.certificate}`);
  const named = (authority = before): unknown => {
    const pem = authority?.member('web1').certificate ?? '';
    const certificate = read(new X509Certificate(pem).raw);
    return certificate.ok ? certificate.value.member : certificate.reason;
  };
  expect(named(before)).toEqual({ cluster: 'site1', replica: 'web1' });
  expect(named(after)).toEqual({ cluster: 'site1', replica: 'web1' });
  expect(named(third)).toBe('certificate of another authority');
});
