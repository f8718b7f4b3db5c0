import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import type { LabPlan } from '../../src/lab/plan.ts';
import { askAgent, askAgentOnce } from '../../src/platform/agent-client.ts';
import { openUdpControlNetwork } from '../../src/platform/udp-control-network.ts';
import { datagramBytesMax } from '../../src/wire/envelope.ts';
import {
  addressesOf,
  answersTo,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  ownerOf,
  restingStatusOf,
  type StatusSeen,
  until,
} from './lab-under-test.ts';

const name = labName('w');
const replicas = ['r1', 'r2', 'r3'];
const program = fileURLToPath(new URL('flood-main.mjs', import.meta.url));
const seconds = 5;
/** Agents that may not raise their priority share two cores with the flood itself. */
const perSecond = process.getuid?.() === 0 ? 50_000 : 10_000;
const pollMs = 100;

type Status = StatusSeen & { readonly refused: Readonly<Record<string, number>> };

const socketOf = (replica: string): string => join(labDirectory(name), replica, 'agent.sock');
const statusOf = (replica: string): Promise<Status> => askAgentOnce<Status>(socketOf(replica), 'GET', '/v1/status');
const statuses = (): Promise<Status[]> => Promise.all(replicas.map(statusOf));
const ownership = ({ epoch, owners, verdict }: Status): unknown => ({ epoch, owners, verdict });

/** All verdicts that an agent comes to until `signal` is aborted. */
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

/** Asks once from each address: the lines "ADDRESS ANSWER" of those answered by another than the owner. None at all is not a wrong answer. */
async function wrongAnswers(status: Status, addresses: readonly string[]): Promise<string[]> {
  const answers = await answersTo(name, 'c1', addresses);
  return [...answers].flatMap(([address, answer]) =>
    answer !== '' && answer !== ownerOf(status, address) ? [`${address} ${answer}`] : [],
  );
}

/** What agents say and clients are answered until `attack` is over. */
async function watchDuring(attack: Promise<unknown>, before: Status): Promise<{ polls: unknown[]; wrong: string[] }> {
  const addresses = await addressesOf(name, 'c1');
  let over = false;
  const end = attack.finally(() => {
    over = true;
  });
  const wrong: string[] = [];
  const asking = (async () => {
    while (!over) wrong.push(...(await wrongAnswers(before, addresses)));
  })();
  const polls: unknown[] = [];
  while (!over) {
    polls.push((await statuses()).map(ownership));
    await delay(pollMs);
  }
  await end;
  await asking;
  return { polls, wrong };
}

describe('floods of the control channel', () => {
  beforeAll(async () => {
    const size = ['--replicas', '3', '--clients', '1', '--addresses', '6', '--certified'];
    expect(await manycast('lab', 'up', name, ...size)).toMatchObject({ code: 0 });
    await restingStatusOf(name, 'r1');
  });
  afterAll(async () => {
    await manycast('lab', 'down', name);
    expect(leftovers(name)).toEqual([]);
  });

  test('change nothing, are refused by name, and nobody is answered wrongly', async () => {
    const { plan } = JSON.parse(readFileSync(join(labDirectory(name), 'lab.json'), 'utf8')) as { plan: LabPlan };
    const captured = join(labDirectory(name), 'captured');
    writeFileSync(captured, await on(name, 'sw', process.execPath, program, 'capture', ...replicas));
    const before = await statuses();
    const watching = new AbortController();
    const verdicts = replicas.map((replica) => verdictsOf(replica, watching.signal));

    const targets = [plan.control.group, ...plan.replicas.map(({ address }) => address)];
    const how = [String(seconds), String(perSecond), captured];
    const flood = on(name, 'c1', process.execPath, program, 'flood', ...how, ...targets);
    const first = defined(before[0], 'the status of r1');
    const { polls, wrong } = await watchDuring(flood, first);
    console.log((await flood).trim());

    const after = await statuses();
    watching.abort();
    expect((await Promise.all(verdicts)).flat()).toEqual([]);
    for (const poll of [...polls, after.map(ownership)]) expect(poll).toEqual(before.map(ownership));
    expect(polls.length).toBeGreaterThan(0);
    expect(wrong).toEqual([]);
    for (const { refused } of after) {
      const reasons = ['too long', 'too short', 'another version', 'another cluster', 'not authentic', 'replayed'];
      const counted = Object.keys(refused).map((reason) => reason.split(':')[0]);
      expect(counted).toEqual(expect.arrayContaining(reasons));
    }
    const stillWrong = () => addressesOf(name, 'c1').then((addresses) => wrongAnswers(first, addresses));
    expect(await stillWrong()).toEqual([]);
    // The flood is over, and the channel is as it was.
    await until(statuses, (all) => all.every(({ peers }) => peers.every(({ via }) => via === 'multicast')));
  });
});

test('datagrams that wait behind each other are all handed over, in order, and one that is too long still is', async () => {
  const count = 100;
  const got: Uint8Array[] = [];
  let all = (): void => {};
  const received = new Promise<void>((resolve) => {
    all = resolve;
  });
  const network = await openUdpControlNetwork({
    address: '127.0.0.1',
    group: '239.77.0.9',
    port: 7799,
    peers: new Map([['self', '127.0.0.1']]),
    onDatagram(datagram, via) {
      expect(via).toBe('unicast');
      if (got.push(datagram) === count) all();
    },
    onSendFailure: (reason) => expect.unreachable(reason),
  });
  for (let i = 0; i < count; i++)
    network.unicast('self', new Uint8Array(i % 10 === 9 ? datagramBytesMax + 72 : 40).fill(i));
  await received;
  await network.close();
  expect(got.map((each) => each[0])).toEqual(Array.from({ length: count }, (_, i) => i));
  expect(got.filter((each) => each.length > datagramBytesMax)).toHaveLength(count / 10);
});
