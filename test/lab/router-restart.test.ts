import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  addressesOf,
  expectOwnersToAnswer,
  labName,
  leftovers,
  manycast,
  serviceAddress,
  startManycast,
  statusOf,
  until,
} from './lab-under-test.ts';
import { labPrograms, routerStatus } from './router-under-test.ts';

const { labNamed, restartRouter, signalRouter } = await labPrograms();
const name = labName('q');
const program = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const serve = ['http-server-main.js', 'tcp-echo-server-main.js'].map(
  (each) => `'${process.execPath}' '${program(`dist/lab/${each}`)}'`,
);
const isDown = (): Promise<boolean> =>
  routerStatus(name, 'rt').then(
    () => false,
    () => true,
  );

beforeAll(async () => {
  const size = ['--replicas', '3', '--clients', '2', '--addresses', '14', '--delivery', 'router'];
  expect(await manycast('lab', 'up', name, ...size, '--serve', serve.join(' & exec '))).toMatchObject({ code: 0 });
}, 60_000);
afterAll(async () => {
  await manycast('lab', 'down', name);
  expect(leftovers(name)).toEqual([]);
});

test('SIGTERM takes the service off the router; seconds after the next start all clients are served again', async () => {
  const { plan } = labNamed(name);
  const addresses = (await addressesOf(name, 'c2')).slice(0, 14);
  const argv = [process.execPath, program('scripts/router-restart.mjs'), 'probe', serviceAddress, ...addresses];
  const probe = startManycast('lab', 'exec', name, 'c2', '--', ...argv);
  const lines = createInterface({ input: probe.stdout ?? process.stdin })[Symbol.asyncIterator]();
  signalRouter(plan, 'rt', 'SIGTERM');
  expect((await lines.next()).value).toBe('began');
  await until(isDown, (down) => down);
  await restartRouter(plan, 'rt');
  const startedAt = Date.now();
  // Two seconds on a machine with nothing else to do (scripts/router-restart.mjs); without being asked, replicas would join after minutes.
  expect(Number((await lines.next()).value) - startedAt).toBeLessThan(10_000);
  await expectOwnersToAnswer(name, 'c2', await statusOf(name, 'r1'));
}, 60_000);
