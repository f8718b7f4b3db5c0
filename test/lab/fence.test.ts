import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
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

const name = labName('k');

beforeAll(async () => {
  const size = ['--replicas', '3', '--clients', '1', '--addresses', '12'];
  expect(await manycast('lab', 'up', name, ...size)).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await manycast('lab', 'down', name);
  expect(leftovers(name)).toEqual([]);
});

function agentPid(replica: number): string {
  const state = JSON.parse(readFileSync(join(labDirectory(name), 'lab.json'), 'utf8')) as { agents: { pid: number }[] };
  return String(state.agents[replica - 1]?.pid);
}

/** Connections that a replica's kernel has taken. */
async function taken(replica: string): Promise<number> {
  const [names = '', values = ''] = (await on(name, replica, 'grep', '^Tcp:', '/proc/net/snmp')).split('\n');
  return Number(values.split(' ')[names.split(' ').indexOf('PassiveOpens')]);
}

const withoutSecond = ({ owners, settled }: StatusSeen): boolean =>
  settled && !owners.some((each) => each.name === 'r2');

test('an agent that is stopped while its host lives loses its share in the kernel, before others take it over', async () => {
  await on(name, 'r2', 'kill', '-STOP', agentPid(2));
  const status = await until(() => statusOf(name, 'r1'), withoutSecond);
  const before = await taken('r2');
  await expectOwnersToAnswer(name, 'c1', status);
  expect(await taken('r2')).toBe(before);

  await on(name, 'r2', 'kill', '-CONT', agentPid(2));
  const again = await until(
    () => statusOf(name, 'r2'),
    ({ verdict, settled, owners }) => verdict === 'serving' && settled && owners.length === 3,
  );
  await expectOwnersToAnswer(name, 'c1', again);
});

test('so does one that is killed', async () => {
  await on(name, 'r2', 'kill', '-9', agentPid(2));
  const status = await until(() => statusOf(name, 'r1'), withoutSecond);
  expect(await on(name, 'r2', 'nft', 'list', 'map', 'netdev', 'mc_web', 'slots')).toContain('goto own');
  const before = await taken('r2');
  expect(before).toBeGreaterThan(0);
  await expectOwnersToAnswer(name, 'c1', status);
  expect(await taken('r2')).toBe(before);
});
