import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RouterStatus } from '../../src/edge/status.ts';
import { authorityUnderTest } from '../identity/authority-under-test.ts';
import {
  expectOwnersToAnswer,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  statusOf,
  until,
} from './lab-under-test.ts';
import { changeRouterFile, labPrograms, routerStatus, routerStatusAsTold } from './router-under-test.ts';

const { labNamed, restartRouter } = await labPrograms();
const name = labName('j');
const program = fileURLToPath(new URL('join-impostor-main.mjs', import.meta.url));
const configOf = (replica: string): string => join(labDirectory(name), replica, 'agent.yaml');
const shares = ({ services }: RouterStatus): unknown =>
  services[0]?.members
    .map(({ name: member, address, link, slots }) => ({ member, address, link, slots }))
    .sort((a, b) => (a.member < b.member ? -1 : 1));

beforeAll(async () => {
  const size = ['--replicas', '3', '--clients', '1', '--addresses', '12', '--delivery', 'router'];
  expect(await manycast('lab', 'up', name, ...size)).toMatchObject({ code: 0 });
  // As where replicas are on several links: joins are heard from the clients' too.
  changeRouterFile(name, 'rt', (text) => text.replace('  - eth0\n', '  - eth0\n  - eth1\n'));
  await restartRouter(labNamed(name).plan, 'rt', 'SIGHUP');
  await until(() => routerStatus(name, 'rt').catch(() => null), isServing);
  strangers();
}, 60_000);
afterAll(async () => {
  await manycast('lab', 'down', name);
  expect(leftovers(name)).toEqual([]);
});

function isServing(status: RouterStatus | null): boolean {
  return status?.services[0]?.unclaimed === '' && status.services[0].members.length === 3;
}

/** Another cluster's authority says that somebody is r1; who has that is in `stranger`. */
function strangers(): void {
  const directory = join(labDirectory(name), 'certificates');
  const { ca, certificate, key } = authorityUnderTest('elsewhere').member('r1');
  writeFileSync(join(directory, 'stranger-ca.crt'), ca);
  writeFileSync(join(directory, 'stranger.crt'), certificate);
  writeFileSync(join(directory, 'stranger.key'), key, { mode: 0o600 });
  const own = readFileSync(configOf('r1'), 'utf8')
    .replace(/r1\.(crt|key)/g, 'stranger.$1')
    .replace('ca.crt', 'stranger-ca.crt')
    .replace(/^ +revoked: .*\n/m, '')
    .replace(/^cluster: .*$/m, 'cluster: elsewhere');
  writeFileSync(join(dirname(configOf('r1')), 'stranger.yaml'), own, { mode: 0o600 });
}

const stranger = 'stranger.yaml';
const known = 'agent.yaml';

describe('a join that does not count changes nothing, and is counted by its reason', () => {
  test.each([
    ['without a signature, from a replica', 'r3', known, 'unsigned', 'unsigned'],
    ['without a signature, from a client', 'c1', known, 'unsigned', 'unsigned'],
    ['copied from the wire', 'r3', known, 'replayed', 'duplicate'],
    ['copied from the wire, one bit of it changed', 'r3', known, 'changed', 'signature'],
    ['signed a minute ago', 'r3', known, 'stale', 'not-timely'],
    ['of a replica on another link', 'c1', known, 'elsewhere', 'wrong-link'],
    ['of a member of another cluster', 'r3', stranger, 'own', 'certificate'],
  ])('%s', async (_what, node, file, kind, reason) => {
    const before = await routerStatus(name, 'rt');
    const config = join(dirname(configOf('r1')), file);
    await on(name, node, process.execPath, program, config, kind);
    const after = await until(
      () => routerStatusAsTold(name, 'rt'),
      ({ refused }) => (refused[reason] ?? 0) > (before.refused[reason] ?? 0),
    );
    expect(after.refused).toEqual({ ...before.refused, [reason]: (before.refused[reason] ?? 0) + 1 });
    expect(shares(after)).toEqual(shares(before));
  });

  test('after all of them each client is answered by its owner', async () => {
    await expectOwnersToAnswer(name, 'c1', await statusOf(name, 'r1'));
  });

  test('whose key it is counts, not from where: the same, with the key of a member, takes its slots', async () => {
    const before = await routerStatus(name, 'rt');
    await on(name, 'r1', process.execPath, program, configOf('r1'), 'own');
    await until(
      () => routerStatus(name, 'rt'),
      ({ services }) => services[0]?.members.find((each) => each.name === 'r1')?.slots === '0-255',
    );
    expect((await routerStatus(name, 'rt')).refused).toEqual(before.refused);
  });
});
