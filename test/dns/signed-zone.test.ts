import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { addressOf } from '../../src/base/address.ts';
import { type GroupStanding, groupLookup } from '../../src/platform/group-lookup.ts';
import { zoneSchema } from '../../src/registry/schema.ts';
import { registryOf } from '../../src/registry/zone.ts';
import { zoneText } from '../../src/registry/zone-text.ts';
import { authorityUnderTest } from '../identity/authority-under-test.ts';
import { endAll, type Place, startKnot, startUnbound } from './servers-under-test.ts';

const place: Place = { directory: mkdtempSync(join(tmpdir(), 'manycast-test-')), children: [] as ChildProcess[] };
afterAll(async () => {
  await endAll(place.children);
  rmSync(place.directory, { recursive: true });
});

const site = authorityUnderTest('site1');
const origins = ['groups.example.org', '77.239.in-addr.arpa'];

/** The zones as files, as `registry export` prints them. */
function exported(): Map<string, string> {
  const registry = registryOf(
    zoneSchema.parse({
      ...{ origin: 'groups.example.org', reverse: ['77.239.in-addr.arpa'], contact: 'a@example.org' },
      nameservers: [{ name: 'ns1.groups.example.org', address: '127.0.0.1' }],
      groups: {
        web: { address: '239.77.0.10', owner: 'Example Ltd', authority: site.certificate, revoked: ['40'.repeat(16)] },
        open: { address: '239.77.0.11', owner: 'Nobody', access: 'public' },
      },
    }),
  );
  if (!registry.ok) throw new Error(registry.reason);
  const files = registry.value.map((zone): [string, string] => {
    const file = join(place.directory, `${zone.origin}.zone`);
    writeFileSync(file, zoneText(zone));
    return [zone.origin, file];
  });
  return new Map(files);
}

/** The keys that a server publishes for a zone, as text. */
function keysOf(port: number, origin: string): string[] {
  const told = execFileSync('dig', ['@127.0.0.1', '-p', `${port}`, origin, 'DNSKEY', '+noall', '+answer'], {
    encoding: 'utf8',
  });
  return told
    .trim()
    .split('\n')
    .map((line) => line.replace(/\s+/g, ' '));
}

async function standing(address: string, port: number, isValidating = true): Promise<GroupStanding> {
  const servers = [{ address: '127.0.0.1', port, isValidating }];
  return groupLookup({ servers, pins: new Map() }).lookup(addressOf(address));
}

test('a zone that Knot signs and Unbound verifies proves what groups are; without its keys nothing is proven', async () => {
  const files = exported();
  const signed = await startKnot(files, place, true);
  const keys = new Map(origins.map((origin) => [origin, keysOf(signed, origin)]));
  const resolver = await startUnbound(signed, keys, place);
  expect(await standing('239.77.0.11', resolver)).toMatchObject({ kind: 'public', group: { owner: 'Nobody' } });
  expect(await standing('239.77.0.10', resolver)).toMatchObject({
    kind: 'private',
    group: {
      ...{ name: 'web.groups.example.org', authorityCertificate: site.certificate },
      revokedSerials: new Set(['40'.repeat(16)]),
    },
  });
  expect(await standing('239.77.0.12', resolver)).toMatchObject({
    problem: expect.stringContaining('there is no such group'),
  });
  // The signer's own word is no proof, nor that of a resolver which is not trusted.
  for (const each of [await standing('239.77.0.11', signed), await standing('239.77.0.11', resolver, false)]) {
    expect(each).toMatchObject({ kind: 'closed', problem: expect.stringContaining('is not signed') });
  }
  // The same zones without signatures, where the resolver knows that there should be some.
  const forger = await startUnbound(await startKnot(files, place), keys, place);
  expect(await standing('239.77.0.11', forger)).toMatchObject({
    ...{ kind: 'closed', problem: expect.stringContaining('response code 2') },
  });
});
