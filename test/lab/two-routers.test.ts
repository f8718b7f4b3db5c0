import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  addressesOf,
  command,
  expectOwnersToAnswer,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  type StatusSeen,
  statusOf,
  until,
} from './lab-under-test.ts';
import { labPrograms, routerStatus } from './router-under-test.ts';
import { linesOf, startTalk } from './talk.ts';

const { killRouter, labNamed, restartAgent, routeAround } = await labPrograms();
const name = labName('w');
const program = (path: string): string => fileURLToPath(new URL(`../../dist/lab/${path}`, import.meta.url));
const serve = ['http-server-main.js', 'tcp-echo-server-main.js'].map(
  (each) => `'${process.execPath}' '${program(each)}'`,
);
const replicas = ['r1', 'r2', 'r3'];
const routers = ['rt1', 'rt2'];

beforeAll(async () => {
  const size = ['--replicas', '3', '--clients', '2', '--addresses', '16', '--delivery', 'router', '--routers', '2'];
  expect(await manycast('lab', 'up', name, ...size, '--serve', serve.join(' & exec '))).toMatchObject({ code: 0 });
}, 60_000);
afterAll(async () => {
  await manycast('lab', 'down', name);
  expect(leftovers(name)).toEqual([]);
});

const setPolicy = (policy: string): void => writeFileSync(join(labDirectory(name), 'policy.yaml'), policy);
const countOf = (status: StatusSeen, replica: string): number =>
  status.owners.find((each) => each.name === replica)?.count ?? 0;

/** What a router sends to whom. */
async function sharesAt(router: string): Promise<Record<string, string>> {
  const { services } = await routerStatus(name, router);
  return Object.fromEntries((services[0]?.members ?? []).map((each) => [each.name, each.slots]));
}

/** Packets to the service that a router has sent on. */
async function forwardedBy(router: string): Promise<number> {
  return (await routerStatus(name, router)).services[0]?.packets?.forwarded ?? 0;
}

test('both routers send every slot to its owner, each by joins that it has checked itself', async () => {
  const status = await statusOf(name, 'r1');
  const owned = Object.fromEntries(status.owners.map((each) => [each.name, each.slots]));
  expect(Object.keys(owned)).toEqual(replicas);
  for (const router of routers) expect(await sharesAt(router)).toEqual(owned);
});

test('one of them asks for joins: the one with the lower address', async () => {
  await until(
    async () => queriersAt('rt2'),
    (heard) => heard.at(-1) === '10.77.0.1',
  );
  expect(queriersAt('rt1')).toEqual([]);
});

/** The other routers that a router has found asking, by its log. */
function queriersAt(router: string): (string | null)[] {
  const lines = readFileSync(join(labDirectory(name), router, 'router.log'), 'utf8')
    .trimEnd()
    .split('\n');
  const events = lines.map((line) => JSON.parse(line) as { msg: string; address: string | null });
  return events.filter(({ msg }) => msg === 'group: querier').map(({ address }) => address);
}

test('connections go over both, and each stays with its replica when a router dies; new ones are served', async () => {
  const addresses = (await addressesOf(name, 'c1')).slice(0, 16);
  const before = await Promise.all(routers.map(forwardedBy));
  const talk = startTalk(name, 'c1', addresses);
  const first = await talk.progress();
  await expectOwnersToAnswer(name, 'c2', await statusOf(name, 'r1'));
  const after = await Promise.all(routers.map(forwardedBy));
  for (const [i] of routers.entries()) expect(after[i], routers[i]).toBeGreaterThan(before[i] ?? Infinity);

  const { plan } = labNamed(name);
  killRouter(plan, 'rt1');
  routeAround(plan, 'rt1');
  const now = await talk.progress();
  await until(talk.progress, (each) =>
    addresses.every((address) => linesOf(each, address) > linesOf(now, address) + 2),
  );
  const last = await talk.end();
  expect(addresses.map((each) => last[each]?.broken)).toEqual(addresses.map(() => null));
  expect(addresses.map((each) => last[each]?.replicas)).toEqual(addresses.map((each) => first[each]?.replicas));
  await expectOwnersToAnswer(name, 'c2', await statusOf(name, 'r1'));
}, 60_000);

test('what a dead replica had is served by the others, although one router is dead too', async () => {
  expect(await manycast('lab', 'step', name, 'kill: { agent: r3 }')).toMatchObject({ code: 0 });
  const status = await until(
    () => statusOf(name, 'r1'),
    ({ owners, settled }) => settled && !owners.some((each) => each.name === 'r3'),
  );
  for (const client of ['c1', 'c2']) await expectOwnersToAnswer(name, client, status);
  await restartAgent(labNamed(name).plan, 'r3');
  await until(
    () => statusOf(name, 'r3').catch(() => null),
    (each) => each?.verdict === 'serving' || each?.verdict === 'idle',
  );
}, 60_000);

test('a planned move waits for the dead router, says so, and goes on when it is taken out of every agent.yaml', async () => {
  const awaited = 'the move waits for router rt1; if it is gone for good, take it out of `routers`';
  const before = await statusOf(name, 'r1');
  expect(countOf(before, 'r1')).toBeGreaterThan(0);
  setPolicy('strategy: explicit\nshares: { r2: 0-255 }\n');
  await until(
    () => on(name, 'r1', process.execPath, command, 'status'),
    (text) => text.includes(awaited),
  );
  // Waiting costs nobody anything: those who had the slots still answer.
  await expectOwnersToAnswer(name, 'c2', await statusOf(name, 'r1'));

  for (const replica of replicas) {
    const path = join(labDirectory(name), replica, 'agent.yaml');
    writeFileSync(path, readFileSync(path, 'utf8').replace(/^ +rt1: .*\n/m, ''));
  }
  for (const replica of replicas) await restartAgent(labNamed(name).plan, replica, 'SIGHUP');
  await until(
    () => statusOf(name, 'r2').catch(() => null),
    (each) => each?.settled === true && countOf(each, 'r2') === 256,
  );
  await expectOwnersToAnswer(name, 'c2', await statusOf(name, 'r2'));
}, 60_000);
