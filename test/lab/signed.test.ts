import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import { askAgentOnce } from '../../src/platform/agent-client.ts';
import { revokeMembers, toRevoke } from '../../src/platform/authority-change.ts';
import { readAuthority } from '../../src/platform/certificates.ts';
import {
  addressesOf,
  answersTo,
  command,
  expectOwnersToAnswer,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  restingStatusOf,
  type StatusSeen,
  serviceAddress,
  startManycast,
  until,
} from './lab-under-test.ts';

const name = labName('g');
const replicas = ['r1', 'r2', 'r3', 'r4'];
/** Says when its connection to the service is open, and when it ended; then it makes another. */
const client = `
  const connect = () => {
    const socket = require('node:net').connect(80, '${serviceAddress}', () => console.log('open'));
    const timer = setInterval(() => socket.write('GET / HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n'), 100);
    socket.on('data', () => {}).on('error', () => {}).on('close', () => {
      clearInterval(timer);
      console.log('ended');
      setTimeout(connect, 50);
    });
  };
  connect();
`;
const program = fileURLToPath(new URL('impostor-main.mjs', import.meta.url));

type Status = StatusSeen & {
  readonly refused: Readonly<Record<string, number>>;
  readonly leased: boolean;
  readonly signatures: {
    readonly mode: string;
    readonly revoked: readonly string[];
    readonly refused: Readonly<Record<string, string>>;
  };
};

const configOf = (replica: string): string => join(labDirectory(name), replica, 'agent.yaml');
const statusOf = (replica: string): Promise<Status> =>
  askAgentOnce<Status>(join(labDirectory(name), replica, 'agent.sock'), 'GET', '/v1/status');
const ownership = ({ epoch, owners, verdict, peers }: Status): unknown => ({ epoch, owners, verdict, peers });

describe('a lab whose agents sign', () => {
  beforeAll(async () => {
    const size = ['--replicas', '4', '--clients', '1', '--addresses', '6', '--certified'];
    expect(await manycast('lab', 'up', name, ...size)).toMatchObject({ code: 0 });
    await restingStatusOf(name, 'r1');
  });
  afterAll(async () => {
    await manycast('lab', 'down', name);
    expect(leftovers(name)).toEqual([]);
  });

  test('refuses nobody of its own', async () => {
    const all = await until(
      () => Promise.all(replicas.map(statusOf)),
      (statuses) => statuses.every(({ signatures }) => Object.keys(signatures.refused).length === 0),
    );
    expect(all.map(({ signatures }) => signatures.mode)).toEqual(replicas.map(() => 'required'));
    for (const { refused } of all) expect(Object.keys(refused)).not.toContain('wrong signature');
  });

  test.each([
    ['without a certificate', 'none', ['not signed']],
    ['with a certificate of its own', 'own', ['certificate of another name', 'certificate not known']],
    ['that shows the certificate of another', 'copied', ['wrong signature']],
  ])('is not changed by a holder of the keyring %s', async (_what, how, reasons) => {
    const before = (await Promise.all(replicas.map(statusOf))).map(ownership);
    for (const victim of ['r1', 'r2'])
      await on(name, 'c1', process.execPath, program, configOf('r3'), victim, how, '1');
    const after = await Promise.all(replicas.map(statusOf));
    expect(after.map(ownership)).toEqual(before);
    for (const { refused } of after) expect(Object.keys(refused)).toEqual(expect.arrayContaining(reasons));
    expect(reasons).toContain(after[3]?.signatures.refused.r2);
    await expectOwnersToAnswer(name, 'c1', await statusOf('r1'));
  });

  test('an agent that starts again knows the others at once, and nothing moves', async () => {
    const { epoch, owners } = await restingStatusOf(name, 'r1');
    expect(await manycast('lab', 'step', name, 'upgrade: r2')).toMatchObject({ code: 0 });
    const status = await until(
      () => statusOf('r2').catch(() => null),
      (seen) => seen?.verdict === 'serving' && seen.settled,
    );
    // Nobody had to show a certificate to it before it was heard.
    expect(Object.keys(status?.refused ?? {})).not.toContain('certificate not known');
    expect(status).toMatchObject({ epoch: expect.any(Number) as number, owners });
    expect(epoch).toBeGreaterThan(0);
  });

  test('who is revoked loses its slots while its agent goes on, and its clients reach the others', async () => {
    const addresses = await addressesOf(name, 'c1');
    const slots = addresses.map((address) => address.split('.').at(-1)).join(',');
    await on(name, 'r1', process.execPath, command, 'move', slots, '--to', 'r4');
    await until(
      () => answersTo(name, 'c1', addresses),
      (answers) => [...answers.values()].every((answer) => answer === 'r4'),
    );
    const child = startManycast('lab', 'exec', name, 'c1', '--', process.execPath, '-e', client);
    const said: string[] = [];
    createInterface({ input: defined(child.stdout, 'its output') }).on('line', (line) => said.push(line));
    await until(
      async () => said,
      (lines) => lines.includes('open'),
    );

    const authority = readAuthority(join(labDirectory(name), 'certificates'));
    const passphrase = readFileSync(join(authority.directory, 'passphrase'), 'utf8').trim();
    revokeMembers(authority, passphrase, toRevoke(authority, ['r4']));
    const status = await until(
      () => statusOf('r1'),
      ({ owners, signatures }) =>
        signatures.revoked.includes('r4') && owners.length === 3 && owners.every(({ name: owner }) => owner !== 'r4'),
    );
    expect(status.peers).toContainEqual({ name: 'r4', state: 'revoked', via: null });
    expect(await statusOf('r4')).toMatchObject({ leased: false });
    await until(
      () => answersTo(name, 'c1', addresses),
      (answers) => [...answers.values()].every((answer) => ['r1', 'r2', 'r3'].includes(answer)),
    );
    // The connection that r4 had is reset by its new owner, and is made anew.
    await until(
      async () => said,
      (lines) => lines.join(' ').startsWith('open ended open'),
    );
    child.kill('SIGTERM');
  });
});
