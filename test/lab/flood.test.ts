import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LabPlan } from '../../src/lab/plan.ts';
import { askAgent, askAgentOnce } from '../../src/platform/agent-client.ts';
import {
  addressesOf,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  ownerOf,
  type StatusSeen,
  serviceAddress,
  until,
} from './lab-under-test.ts';

const name = labName('w');
const replicas = ['r1', 'r2', 'r3'];
const program = fileURLToPath(new URL('flood-main.mjs', import.meta.url));
const seconds = 5;
const perSecond = 50_000;
const pollMs = 100;

type Status = StatusSeen & { readonly refused: Readonly<Record<string, number>> };

beforeAll(async () => {
  const size = ['--replicas', '3', '--clients', '1', '--addresses', '6'];
  expect(await manycast('lab', 'up', name, ...size)).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await manycast('lab', 'down', name);
  expect(leftovers(name)).toEqual([]);
});

const socketOf = (replica: string): string => join(labDirectory(name), replica, 'agent.sock');
const statusOf = (replica: string): Promise<Status> => askAgentOnce<Status>(socketOf(replica), 'GET', '/v1/status');
const statuses = (): Promise<Status[]> => Promise.all(replicas.map(statusOf));
const ownership = ({ epoch, owners, verdict, settled }: Status): unknown => ({ epoch, owners, verdict, settled });

/** All verdicts that an agent comes to while `signal` is not aborted. */
async function verdictsOf(replica: string, signal: AbortSignal): Promise<unknown[]> {
  const seen: unknown[] = [];
  try {
    for await (const line of askAgent(socketOf(replica), 'GET', '/v1/events', '', signal)) {
      if (line.type === 'verdict') seen.push({ replica, ...line });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return seen;
}

/** Asks from every address of the client; what was answered by another than the owner. Not being answered is no wrong answer. */
async function wrongAnswers(status: Status): Promise<string[]> {
  const asks = (await addressesOf(name, 'c1')).map(
    (each) => `echo ${each} $(curl -s -m 8 --interface ${each} http://${serviceAddress}/)`,
  );
  const lines = (await on(name, 'c1', 'sh', '-c', asks.join('\n'))).trim().split('\n');
  return lines.filter((line) => {
    const [address = '', answer = ''] = line.split(' ');
    return answer !== '' && answer !== ownerOf(status, address);
  });
}

test('floods of the control channel change nothing: not the shares, not who answers, not a verdict', async () => {
  const { plan } = JSON.parse(readFileSync(join(labDirectory(name), 'lab.json'), 'utf8')) as { plan: LabPlan };
  const captured = join(labDirectory(name), 'captured');
  writeFileSync(captured, await on(name, 'sw', process.execPath, program, 'capture', ...replicas));
  const before = await statuses();
  const watching = new AbortController();
  const verdicts = replicas.map((replica) => verdictsOf(replica, watching.signal));

  let flooding = true;
  const targets = [plan.control.group, ...plan.replicas.map(({ address }) => address)];
  const numbers = [seconds, perSecond].map(String);
  const flood = on(name, 'c1', process.execPath, program, 'flood', ...numbers, captured, ...targets).finally(() => {
    flooding = false;
  });
  const polls: unknown[][] = [];
  const wrong: string[] = [];
  const asking = (async () => {
    while (flooding) wrong.push(...(await wrongAnswers(before[0] as Status)));
  })();
  while (flooding) {
    polls.push((await statuses()).map(ownership));
    await delay(pollMs);
  }
  const said = await flood;
  await asking;
  console.log(said.trim());
  const after = await until(statuses, (all) => all.every(({ verdict }) => verdict === 'serving'));
  for (const status of after) console.log(JSON.stringify(status.refused));
  watching.abort();
  expect((await Promise.all(verdicts)).flat()).toEqual([]);
  expect(wrong).toEqual([]);
  for (const poll of polls) expect(poll).toEqual(before.map(ownership));
  expect(after.map(ownership)).toEqual(before.map(ownership));
  expect(await wrongAnswers(before[0] as Status)).toEqual([]);
});
