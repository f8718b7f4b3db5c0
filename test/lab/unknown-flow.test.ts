import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { askAgent } from '../../src/platform/agent-client.ts';
import {
  addressesOf,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  ownerOf,
  restingStatusOf,
  type StatusSeen,
  serviceAddress,
  startManycast,
  statusOf,
  until,
} from './lab-under-test.ts';

const name = labName('u');
const replicas = ['r1', 'r2', 'r3'];
const echoServer = fileURLToPath(new URL('../../dist/lab/tcp-echo-server-main.js', import.meta.url));
const program = fileURLToPath(new URL('unknown-flow-main.mjs', import.meta.url));

type Status = StatusSeen & {
  readonly resetUnasked: string | null;
  readonly packets: { readonly resetsAsked: number };
};

const seen = async (replica: string): Promise<Status> => (await statusOf(name, replica)) as Status;
const asked = async (): Promise<number> =>
  (await Promise.all(replicas.map(seen))).reduce((sum, { packets }) => sum + packets.resetsAsked, 0);

/** A busy machine, whose ordinary users enter a namespace with each command, takes its time. */
const patienceMs = 60_000;

/** Ends when a test does not. */
const started: ReturnType<typeof startManycast>[] = [];

beforeAll(async () => {
  const size = ['--replicas', '3', '--clients', '1', '--addresses', '16'];
  expect(await manycast('lab', 'up', name, ...size)).toMatchObject({ code: 0 });
  for (const replica of replicas) {
    started.push(startManycast('lab', 'exec', name, replica, '--', process.execPath, echoServer));
    await until(
      () => on(name, replica, 'ss', '-Hltn', 'sport = :7'),
      (listening) => listening !== '',
    );
  }
  await restingStatusOf(name, 'r1');
});
afterAll(async () => {
  for (const child of started) child.kill('SIGKILL');
  await manycast('lab', 'down', name);
  expect(leftovers(name)).toEqual([]);
});

const step = async (text: string): Promise<void> =>
  expect(await manycast('lab', 'step', name, text)).toMatchObject({ code: 0 });

/** A connection from each address: who answered last, how many lines the connection has had then, and what ended one. */
interface Sessions {
  readonly answers: ReadonlyMap<string, string>;
  readonly ended: readonly string[];
  ask(): void;
  stop(): void;
}

async function openSessions(addresses: readonly string[]): Promise<Sessions> {
  const argv = [process.execPath, program, 'sessions', serviceAddress, ...addresses];
  const child = startManycast('lab', 'exec', name, 'c1', '--', ...argv);
  started.push(child);
  const answers = new Map<string, string>();
  const ended: string[] = [];
  if (child.stdout) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = JSON.parse(line) as { localAddress: string; replica?: string; lines?: number; ended?: string };
      if (said.ended) ended.push(`${said.localAddress} ${said.ended}`);
      else answers.set(said.localAddress, `${said.replica} ${said.lines}`);
    });
  }
  await until(
    async () => answers.size,
    (size) => size === addresses.length,
  );
  return { answers, ended, ask: () => void child.stdin?.write('\n'), stop: () => void child.kill('SIGTERM') };
}

/** Addresses of the client in slots of r1, which are not used twice. */
async function addressesOfR1(): Promise<string[]> {
  const status = await restingStatusOf(name, 'r1');
  const all = (await addressesOf(name, 'c1')).filter((each) => ownerOf(status, each) === 'r1');
  expect(all.length).toBeGreaterThan(1);
  return all;
}

/** The others have taken r1 for gone, given its slots away, and wait for nothing it might hold. */
async function untilForgotten(): Promise<void> {
  await until(
    () => seen('r2'),
    ({ owners, settled, holders }) =>
      settled && holders.length === 0 && owners.every((each) => each.name !== 'r1' || each.count === 0),
  );
}

/** All sessions are answered on, by r1 and in the same connection. */
async function expectKept({ answers, ended }: Sessions, lines: number): Promise<void> {
  const wanted = [...answers.keys()].map((address) => [address, `r1 ${lines}`]);
  await until(
    async () => ({ answers: [...answers], ended }),
    (now) => now.ended.length > 0 || JSON.stringify(now.answers) === JSON.stringify(wanted),
  );
  expect(ended).toEqual([]);
  expect([...answers]).toEqual(wanted);
}

test(
  'every replica asks before it resets',
  async () => {
    for (const replica of replicas) expect((await seen(replica)).resetUnasked).toBe(null);
  },
  patienceMs,
);

test(
  'connections of a replica that was cut off from the others go on when it is back',
  async () => {
    const sessions = await openSessions(await addressesOfR1());
    await step('block: { between: [r1, others] }');
    await untilForgotten();
    await step('heal: r1');
    sessions.ask();
    await expectKept(sessions, 2);
    sessions.stop();
  },
  patienceMs,
);

test(
  'connections of which neither the ledger nor their own agent knows are found, and go on',
  async () => {
    const sessions = await openSessions(await addressesOfR1());
    await step('block: { between: [r1, others] }');
    await untilForgotten();
    await step('destroyState: r1');
    await step('flush: r1');
    await step('heal: r1');
    const before = await Promise.all(['r2', 'r3'].map(seen));
    await step('restart: { agent: r1 }');
    await until(
      () => seen('r2'),
      ({ peers }) => peers.some(({ name: peer, via }) => peer === 'r1' && via !== null),
    );
    sessions.ask();
    await expectKept(sessions, 2);
    const after = await Promise.all(['r2', 'r3'].map(seen));
    const count = (all: readonly Status[]): number => all.reduce((sum, { packets }) => sum + packets.resetsAsked, 0);
    expect(count(after)).toBeGreaterThan(count(before));
    sessions.stop();
  },
  patienceMs,
);

/** Packets that a node's kernel counts from now on, by a rule of nftables. */
async function count(node: string, family: string, hook: string, match: string): Promise<() => Promise<number>> {
  const table = `${family} counted_${hook}`;
  const chain = `add chain ${table} packets { type filter hook ${hook} priority 0; policy accept; }`;
  await on(
    name,
    node,
    'nft',
    `add table ${table}; delete table ${table}; add table ${table}; ${chain}; add rule ${table} packets ${match} counter`,
  );
  return async () => Number(/counter packets (\d+)/.exec(await on(name, node, 'nft', `list table ${table}`))?.[1]);
}

const countResets = (): Promise<() => Promise<number>> => count('c1', 'ip', 'input', 'tcp flags & rst == rst');

test(
  'a connection that nobody has is reset',
  async () => {
    await restingStatusOf(name, 'r1');
    const before = await asked();
    const resets = await countResets();
    const addresses = await addressesOf(name, 'c1');
    await on(name, 'c1', process.execPath, program, 'strays', serviceAddress, '100', '20', ...addresses);
    await until(resets, (packets) => packets >= 20);
    expect([await resets(), (await asked()) - before]).toEqual([20, 20]);
  },
  patienceMs,
);

/** All verdicts that an agent comes to until `signal` is aborted. */
async function verdictsOf(replica: string, signal: AbortSignal): Promise<unknown[]> {
  const seen: unknown[] = [];
  try {
    for await (const line of askAgent(
      join(labDirectory(name), replica, 'agent.sock'),
      'GET',
      '/v1/events',
      '',
      signal,
    )) {
      if (line.type === 'verdict') seen.push({ replica, ...line });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return seen;
}

test(
  'a flood of strays has a few of them asked about, and loses no lease',
  async () => {
    await restingStatusOf(name, 'r1');
    const addresses = await addressesOf(name, 'c1');
    const watching = new AbortController();
    const verdicts = replicas.map((replica) => verdictsOf(replica, watching.signal));
    const before = await asked();
    const { epoch } = await seen('r1');
    // At the switch.
    const datagrams = await count('sw', 'bridge', 'forward', 'udp dport 7746');
    const resets = await countResets();
    const begin = performance.now();
    const argv = [process.execPath, program, 'strays', serviceAddress, '10000', '20000', ...addresses];
    const flooded = JSON.parse(await on(name, 'c1', ...argv)) as { perSecond: number };
    await until(resets, (packets) => packets > 19_000);
    const seconds = (performance.now() - begin) / 1000;
    const [few, said] = [(await asked()) - before, await datagrams()];
    console.log(JSON.stringify({ ...flooded, resets: await resets(), asked: few, datagrams: said, seconds }));
    // What the rules let through, each time a burst and then the rate; each question goes to two, and so do the heartbeats of three.
    expect(few).toBeLessThanOrEqual(replicas.length * (50 + 200 * seconds));
    expect(said).toBeLessThanOrEqual(seconds * 2 * replicas.length * (100 + 60));
    expect((await seen('r1')).epoch).toBe(epoch);
    watching.abort();
    expect((await Promise.all(verdicts)).flat()).toEqual([]);
  },
  patienceMs,
);
