import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  addressesOf,
  command,
  expectOwnersToAnswer,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  ownerOf,
  restingStatusOf,
  serviceAddress,
  startManycast,
  statusOf,
  until,
} from './lab-under-test.ts';

const url = `http://${serviceAddress}/`;
const equal = 'strategy: equal\nhandoff: reset\n';

describe('a lab of three replicas', () => {
  const name = labName('l');
  const policyFile = join(labDirectory(name), 'policy.yaml');

  beforeAll(async () => {
    expect(await manycast('lab', 'up', name, '--replicas', '3', '--clients', '2', '--addresses', '8')).toMatchObject({
      code: 0,
    });
  });
  afterAll(async () => {
    await manycast('lab', 'down', name);
    expect(leftovers(name)).toEqual([]);
  });

  async function fetchFrom(client: string, address: string): Promise<string> {
    return (await on(name, client, 'curl', '-s', '--max-time', '8', '--interface', address, url)).trim();
  }

  test('curl from every client address is answered by the owner of its slot', async () => {
    const status = await statusOf(name, 'r1');
    expect(status.owners.map(({ count }) => count)).toEqual([86, 85, 85]);
    for (const client of ['c1', 'c2']) await expectOwnersToAnswer(name, client, status);
  });

  test('wrk is served without an error', async () => {
    const said = await on(name, 'c1', 'wrk', '-t1', '-c8', '-d2s', url);
    expect(Number(/(\d+) requests in/.exec(said)?.[1])).toBeGreaterThan(100);
    expect(said).not.toMatch(/Socket errors|Non-2xx/);
  });

  test('a client that keeps its connection alive, as browsers do, uses one for many requests', async () => {
    const said = await on(name, 'c2', 'curl', '-s', '-w', '%{num_connects}\\n', ...Array<string>(5).fill(url));
    const connects = said.split('\n').filter((line) => /^\d+$/.test(line));
    expect(connects).toEqual(['1', '0', '0', '0', '0']);
  });

  test('the service address resolves to the link address of the group, and the hosts keep their own', async () => {
    await fetchFrom('c1', '10.77.1.1');
    const neighbours = await on(name, 'c1', 'ip', 'neighbour', 'show', serviceAddress);
    expect(neighbours).toContain('lladdr 01:00:5e:4d:00:64');
    expect(await on(name, 'c1', 'curl', '-s', '-m', '3', 'http://10.77.0.12/')).toBe('r2\n');
    expect(await on(name, 'c1', 'ip', 'neighbour', 'show', '10.77.0.12')).not.toContain('01:00:5e');
  });

  test('a port that the service does not have drops: no answer, not even a refusal', async () => {
    const timedOut = 28;
    const ran = await manycast(
      'lab',
      'exec',
      name,
      'c1',
      '--',
      'curl',
      '-s',
      '-m',
      '1',
      `http://${serviceAddress}:22/`,
    );
    expect(ran.code).toBe(timedOut);
  });

  test('saving the policy file re-divides the clients everywhere, and again after an editor renames', async () => {
    const before = await statusOf(name, 'r3');
    writeFileSync(policyFile, 'strategy: weighted\nweights: { r1: 50, r2: 25, r3: 25 }\n');
    const counts = async (replica: string): Promise<number[]> => {
      const { owners, settled } = await statusOf(name, replica);
      return settled ? owners.map(({ count }) => count) : [];
    };
    for (const replica of ['r1', 'r2', 'r3']) {
      await until(
        () => counts(replica),
        (answer) => answer.join() === '128,64,64',
      );
    }
    // Three agents saw the one save; one change of policy came of it, in as many epochs as its moves take.
    const log = readFileSync(join(labDirectory(name), 'r1', 'agent.log'), 'utf8');
    expect(log.split('\n').filter((line) => line.includes('"msg":"policy changed"'))).toHaveLength(1);
    expect((await statusOf(name, 'r3')).epoch).toBeGreaterThan(before.epoch);

    writeFileSync(`${policyFile}.swap`, equal);
    renameSync(`${policyFile}.swap`, policyFile);
    await until(
      () => counts('r2'),
      (answer) => answer.join() === '86,85,85',
    );
    expect(await fetchFrom('c1', '10.77.1.1')).toBe(ownerOf(await statusOf(name, 'r1'), '10.77.1.1'));
  });

  test('a connection that says nothing is told when its slot moves by reset, by its old replica', async () => {
    const idle = `const s = require('net').connect({ host: '${serviceAddress}', port: 80, localAddress: '10.77.1.1' });
      s.once('connect', () => console.log('open'));
      s.once('error', (error) => console.log(error.code));`;
    const client = startManycast('lab', 'exec', name, 'c1', '--', process.execPath, '-e', idle);
    const said: string[] = [];
    for await (const line of createInterface({ input: client.stdout ?? process.stdin })) {
      said.push(line);
      if (line === 'open') writeFileSync(policyFile, 'strategy: explicit\nshares: { r3: 0-127 }\nhandoff: reset\n');
    }
    expect(said).toEqual(['open', 'ECONNRESET']);
    writeFileSync(policyFile, equal);
    await until(
      () => statusOf(name, 'r2'),
      ({ policy, settled }) => settled && policy?.strategy === 'equal',
    );
  });

  test('a bad policy file is one line in the log and in status, and the policy in force stays', async () => {
    const { owners } = await statusOf(name, 'r1');
    writeFileSync(policyFile, 'strategy: even\n');
    const status = await until(
      () => statusOf(name, 'r2'),
      ({ policyFile: file }) => file.state === 'refused',
    );
    expect(status.policyFile.problem).toBe('strategy: "even" is not allowed, allowed are equal, weighted, explicit');
    expect(status.policy?.strategy).toBe('equal');
    expect(status.owners).toEqual(owners);
    writeFileSync(policyFile, equal);
  });

  test('policy plan says what would move, apply moves it, and the same again is no change', async () => {
    const file = join(labDirectory(name), 'other.yaml');
    writeFileSync(file, 'strategy: explicit\nshares: { r1: 0-127, r2: 128-255 }\n');
    const policy = (verb: string): Promise<string> => on(name, 'r3', process.execPath, command, 'policy', verb, file);
    expect(await policy('plan')).toContain('then r1 128, r2 128, r3 0');
    expect(await policy('apply')).toContain('policy adopted');
    expect((await statusOf(name, 'r1')).owners.map(({ count }) => count)).toEqual([128, 128, 0]);
    expect(await policy('apply')).toContain('policy unchanged');
    writeFileSync(file, equal);
    expect(await policy('apply')).toContain('policy adopted');
  });

  test('a replica that multicast does not reach goes on by unicast, and serves', async () => {
    const before = await restingStatusOf(name, 'r2');
    const block = 'table ip block { chain in { type filter hook input priority 0; ip daddr 239.77.0.1 drop; }; }';
    await on(name, 'r2', 'nft', block);
    const viaUnicast = await until(
      () => statusOf(name, 'r2'),
      ({ peers }) => peers.every((peer) => peer.name === 'r2' || peer.via === 'unicast'),
    );
    expect(viaUnicast.verdict).toBe('serving');
    expect(viaUnicast.owners).toEqual(before.owners);
    expect(viaUnicast.epoch).toBe(before.epoch);
    await on(name, 'r2', 'nft', 'delete', 'table', 'ip', 'block');
  });

  test('the key of the control channel is changed while all go on serving', async () => {
    const before = await restingStatusOf(name, 'r1');
    const file = join(labDirectory(name), 'keyring.json');
    const taken = (times: number): Promise<unknown> =>
      until(
        async () => ['r1', 'r2', 'r3'].map((each) => readFileSync(join(labDirectory(name), each, 'agent.log'), 'utf8')),
        (logs) => logs.every((log) => log.split('keyring saved').length - 1 === times),
      );
    for (const [i, step] of [
      ['add', file],
      ['use', file, 'k2'],
      ['remove', file, 'k1'],
    ].entries()) {
      expect(await manycast('keyring', ...step)).toMatchObject({ code: 0 });
      await taken(i + 1);
    }
    expect((await manycast('keyring', 'list', file)).stdout).toBe('k2  signs\n');
    const after = await statusOf(name, 'r1');
    expect([after.verdict, after.epoch, after.peers]).toEqual([before.verdict, before.epoch, before.peers]);
  });

  test('when somebody flushes the rule set nobody is served wrongly, and the table comes back', async () => {
    const status = await statusOf(name, 'r1');
    const addresses = [...(await addressesOf(name, 'c1')), ...(await addressesOf(name, 'c2'))];
    for (const replica of ['r1', 'r2', 'r3']) await on(name, replica, 'nft', 'flush', 'ruleset');
    for (const address of addresses.slice(0, 8)) {
      expect(await fetchFrom('c1', address), address).toBe(ownerOf(status, address));
    }
    expect(await on(name, 'r1', 'nft', 'list', 'tables')).toContain('table netdev mc_web');
  });
});
