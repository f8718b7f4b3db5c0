import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askAgentOnce } from '../../src/platform/agent-client.ts';
import {
  expectOwnersToAnswer,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  restingStatusOf,
  type StatusSeen,
  until,
} from './lab-under-test.ts';

const name = labName('g');
const replicas = ['r1', 'r2', 'r3', 'r4'];
const program = fileURLToPath(new URL('impostor-main.mjs', import.meta.url));

type Status = StatusSeen & {
  readonly refused: Readonly<Record<string, number>>;
  readonly signatures: { readonly mode: string; readonly refused: Readonly<Record<string, string>> };
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
});
