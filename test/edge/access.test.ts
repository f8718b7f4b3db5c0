import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { type Access, openAccess } from '../../src/edge/access.ts';
import type { RoutedService, RouterConfig } from '../../src/edge/config.ts';
import { revocationList } from '../../src/identity/revocation-list.ts';
import { authorityUnderTest } from '../identity/authority-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'mc-edge-access-'));
const file = (name: string): string => join(directory, name);
const opened: Access[] = [];
const log = pino({ level: 'silent' });
afterEach(() => {
  for (const each of opened.splice(0)) each.close();
});
afterAll(() => rmSync(directory, { recursive: true }));

function accessOf(access: RoutedService['access'], registry: RouterConfig['registry'] = []): Access {
  const service: RoutedService = {
    ...{ cluster: 'site1', access, routers: {}, delivery: 'router' },
    service: {
      ...{ name: 'web', address: '203.0.113.10', ports: ['80/tcp'], group: '239.77.0.10', partition: '0.0.0.255' },
    },
  };
  const config = {
    ...{ node: 'edge1', links: ['eth0'], clients: [], services: [service], registry, stateDir: '/', socket: '/' },
  };
  const made = openAccess(config, service, log);
  opened.push(made);
  return made;
}

describe('who may join', () => {
  test('a public group: everybody', () => {
    const access = accessOf({ kind: 'public' });
    expect(access.admission()).toMatchObject({
      name: 'site1',
      isPublic: true,
      authority: '',
      revokedSerials: new Set(),
    });
    expect(access.problem()).toBeNull();
  });

  test('a group whose authority a file names: its members', () => {
    const { certificate } = authorityUnderTest('site1');
    writeFileSync(file('ca.crt'), certificate);
    const access = accessOf({ kind: 'authority', ca: file('ca.crt') });
    expect(access.admission()).toMatchObject({ name: 'site1', isPublic: false, authority: certificate });
    expect(access.problem()).toBeNull();
  });

  test('a group with a list of revoked certificates: the same list until another is saved', async () => {
    const site = authorityUnderTest('site1');
    const save = (...serials: string[]): void => {
      const now = new Date();
      const revoked = serials.map((serial) => ({ serial, at: now }));
      writeFileSync(file('ca.crl'), revocationList({ authority: site, revoked, now }));
    };
    writeFileSync(file('site.crt'), site.certificate);
    save('a1');
    const access = accessOf({ kind: 'authority', ca: file('site.crt'), revoked: file('ca.crl') });
    const first = access.admission()?.revokedSerials;
    expect(first).toEqual(new Set(['a1']));
    expect(access.admission()?.revokedSerials).toBe(first);
    save('a1', 'b2');
    await expect.poll(() => access.admission()?.revokedSerials).toEqual(new Set(['a1', 'b2']));
  });

  test.each([
    ['no file', 'none.crt', null, /ENOENT.*none\.crt/],
    ['no certificate', 'empty.crt', '', 'holds no certificate'],
    [
      'a member',
      'member.crt',
      authorityUnderTest('site1').member('web1').certificate,
      'member.crt: it is not the certificate of an authority',
    ],
    [
      'that of another cluster',
      'other.crt',
      authorityUnderTest('site2').certificate,
      'other.crt: it is the authority of cluster "site2", not of "site1"',
    ],
  ])('an authority that is %s ends the start in one line', (_what, name, content, said) => {
    if (content !== null) writeFileSync(file(name), content);
    expect(() => accessOf({ kind: 'authority', ca: file(name) })).toThrow(said);
  });

  test('a group that nobody has told of: nobody, and why', async () => {
    // Of a port that nobody listens on.
    const access = accessOf({ kind: 'registry', fingerprints: [] }, [
      { address: '127.0.0.1', port: 9, validating: true },
    ]);
    expect(access.admission()).toBeNull();
    expect(access.problem()).toBe('the registry has not answered yet');
    await expect.poll(() => access.problem(), { timeout: 10_000 }).toContain('127.0.0.1 port 9');
    expect(access.admission()).toBeNull();
  });
});
