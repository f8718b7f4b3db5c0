import type { ChildProcess } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { RouterStatus } from '../../src/edge/status.ts';
import {
  command,
  expectOwnersToAnswer,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  startManycast,
  statusOf,
  until,
} from './lab-under-test.ts';
import { changeRouterFile, labPrograms, routerStatus } from './router-under-test.ts';

const { labNamed, restartAgent, restartRouter } = await labPrograms();
const name = labName('y');
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const file = (path: string): string => join(labDirectory(name), path);
const zone = (): string => file('zone.yaml');
const registryAt = { address: '10.77.0.1', port: 5300 };
/** Has no key; nobody knows it. */
const stranger = '10.77.0.99';
/** On the router, and what it says is verified counts. */
const resolverAt = { address: '127.0.0.1', port: 5301 };
const owner = ['--owner', 'Example Ltd <ops@example.org>'];
const started: ChildProcess[] = [];
let registry: ChildProcess;

type Service = RouterStatus['services'][number];
const service = async (): Promise<Service> => {
  const { services } = await routerStatus(name, 'rt');
  if (!services[0]) throw new Error('no service');
  return services[0];
};
const serves = (): Promise<Service | null> =>
  until(
    () => service().catch(() => null),
    (each) => each?.members.length === 3 && each.unclaimed === '',
  );

beforeAll(async () => {
  const size = ['--replicas', '3', '--clients', '1', '--addresses', '12', '--delivery', 'router'];
  expect(await manycast('lab', 'up', name, ...size)).toMatchObject({ code: 0 });
  const nameservers = [{ name: 'ns1.groups.example.org', address: '192.0.2.53' }];
  const content = { origin: 'groups.example.org', reverse: ['77.239.in-addr.arpa'], nameservers };
  writeFileSync(zone(), stringify({ ...content, contact: 'hostmaster@example.org', ttl: 1, negativeTtl: 1 }));
  await publish('--ca', file('certificates/ca.crt'));
  registry = await serveRegistry();
  const { fingerprint256 } = new X509Certificate(readFileSync(file('certificates/ca.crt')));
  await lookUp([fingerprint256], registryAt);
}, 60_000);
afterAll(async () => {
  for (const child of started) child.kill();
  await manycast('lab', 'down', name);
  expect(leftovers(name)).toEqual([]);
});

async function publish(...options: string[]): Promise<void> {
  expect(await manycast('registry', 'add', zone(), 'web', '239.77.0.100', ...owner, ...options)).toMatchObject({
    code: 0,
  });
}

function serveRegistry(): Promise<ChildProcess> {
  const { address, port } = registryAt;
  return start(process.execPath, command, 'registry', 'serve', zone(), '--address', address, '--port', String(port));
}

/** A program on the router, once it says that it answers. */
async function start(...argv: string[]): Promise<ChildProcess> {
  const child = startManycast('lab', 'exec', name, 'rt', '--', ...argv);
  started.push(child);
  const [said] = (await once(child.stdout ?? child, 'data')) as [Buffer];
  expect(String(said)).toContain('answering');
  return child;
}

async function stopRegistry(): Promise<void> {
  registry.kill();
  await once(registry, 'exit');
}

/** From its next start, which is now, the router asks this server. */
async function lookUp(
  fingerprints: string[],
  server: { address: string; port: number; validating?: boolean },
): Promise<void> {
  changeRouterFile(name, 'rt', (text) => {
    const config = parse(text) as { services: object[] };
    const services = config.services.map((each) => ({ ...each, access: { kind: 'registry', fingerprints } }));
    return stringify({ ...config, services, registry: [server] });
  });
  await restartRouter(labNamed(name).plan, 'rt');
}

describe('a router that looks the group up', () => {
  test('takes the joins of the members of the authority whose fingerprint it is given', async () => {
    expect(await serves()).toMatchObject({ access: 'private', problem: null });
    await expectOwnersToAnswer(name, 'c1', await statusOf(name, 'r1'));
  });

  test('goes on by the last proven answer when the registry ends', async () => {
    // Joins that came before the first answer.
    const { refused } = await routerStatus(name, 'rt');
    await stopRegistry();
    await until(service, ({ problem }) => problem !== null);
    await restartAgent(labNamed(name).plan, 'r2', 'SIGTERM');
    writeFileSync(file('policy.yaml'), 'strategy: explicit\nshares: { r1: 0-99, r2: 100-199, r3: 200-255 }\n');
    const status = await until(
      () => statusOf(name, 'r2').catch(() => null),
      (each) =>
        each?.settled === true && each.owners.find(({ name: replica }) => replica === 'r2')?.slots === '100-199',
    );
    if (!status) throw new Error('no status');
    expect(await serves()).toMatchObject({ access: 'private' });
    expect((await routerStatus(name, 'rt')).refused).toEqual(refused);
    await expectOwnersToAnswer(name, 'c1', status);
  }, 60_000);

  test('that has never heard an answer takes no join; what joined in vain is asked again once there is one', async () => {
    await restartRouter(labNamed(name).plan, 'rt');
    const status = await until(
      () => routerStatus(name, 'rt').catch(() => null),
      (each) => (each?.refused['no-key'] ?? 0) > 0,
    );
    expect(status?.services[0]).toMatchObject({ access: 'unknown', members: [], unclaimed: '0-255' });
    expect(status?.services[0]?.problem).not.toBeNull();
    registry = await serveRegistry();
    expect(await serves()).toMatchObject({ access: 'private', problem: null });
    await expectOwnersToAnswer(name, 'c1', await statusOf(name, 'r1'));
  }, 60_000);

  test('closes the group when the registry says that there is none', async () => {
    expect(await manycast('registry', 'remove', zone(), 'web')).toMatchObject({ code: 0 });
    const closed = await until(service, ({ access }) => access === 'unknown');
    expect(closed.problem).toBe('10.77.0.1 port 5300: there is no such group');
    // Who has joined stays for as long as any member that is not heard.
    expect(closed.members).toHaveLength(3);
  });

  test('that is told unsigned that everybody may join believes nothing', async () => {
    await publish('--public');
    await lookUp([], registryAt);
    const closed = await until(
      () => service().catch(() => null),
      (each) => each?.problem?.includes('the answer is not signed') === true,
    );
    expect(closed).toMatchObject({ access: 'unknown', members: [] });
  }, 60_000);

  test('lets everybody join without a key when a verified answer says that the group is public', async () => {
    const { address, port } = resolverAt;
    await start(
      process.execPath,
      here('validating-resolver.mjs'),
      address,
      String(port),
      registryAt.address,
      String(registryAt.port),
    );
    await lookUp([], { ...resolverAt, validating: true });
    await until(
      () => service().catch(() => null),
      (each) => each?.access === 'public' && each.problem === null,
    );
    // Joins that came before the answer.
    const { refused } = await routerStatus(name, 'rt');
    await on(name, 'r3', process.execPath, here('join-impostor-main.mjs'), file('r1/agent.yaml'), 'unsigned', stranger);
    const open = await until(service, ({ members }) => members.some(({ name: member }) => member === stranger));
    expect(open.access).toBe('public');
    expect((await routerStatus(name, 'rt')).refused).toEqual(refused);
  }, 60_000);
});
