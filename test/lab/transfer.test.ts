import { once } from 'node:events';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import {
  command,
  labDirectory,
  labName,
  leftovers,
  manycast,
  on,
  startManycast,
  statusOf,
  until,
} from './lab-under-test.ts';

const name = labName('t');
const server = fileURLToPath(new URL('sdk-counter-main.mjs', import.meta.url));
const program = fileURLToPath(new URL('counting-client-main.mjs', import.meta.url));
const halfClosing = fileURLToPath(new URL('half-closing-client-main.mjs', import.meta.url));
const sessions = 60;

/** Ordinary users may not make TAP devices. */
const mayMove = ((): boolean => {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
})();

beforeAll(async () => {
  const size = ['--replicas', '3', '--clients', '1', '--addresses', '10', '--ports', '7/tcp', '--certified'];
  const up = await manycast('lab', 'up', name, ...size, '--serve', `exec ${process.execPath} ${server}`);
  expect(up).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await manycast('lab', 'down', name);
  expect(leftovers(name)).toEqual([]);
});

interface Seen {
  readonly open: number;
  readonly answers: number;
  readonly moved: number;
  readonly wrong: number;
  readonly ended: number;
}

function client<Said>(...argv: string[]): { ask(): Promise<Said>; stop(): void } {
  const child = startManycast('lab', 'exec', name, 'c1', '--', process.execPath, ...argv);
  const lines = createInterface({ input: defined(child.stdout, 'its output') });
  const ask = async (): Promise<Said> => {
    child.stdin?.write('\n');
    const [line] = await once(lines, 'line');
    return JSON.parse(line as string) as Said;
  };
  return { ask, stop: () => void child.kill('SIGTERM') };
}

async function openSessions() {
  const opened = client<Seen>(program, String(sessions));
  await until(opened.ask, ({ open }) => open === sessions);
  return opened;
}

test('live connections move with the state of their application, and no client notices', async () => {
  writeFileSync(join(labDirectory(name), 'policy.yaml'), 'strategy: equal\nhandoff: transfer\n');
  await until(
    () => statusOf(name, 'r1'),
    ({ policy }) => (policy as { handoff?: string } | null)?.handoff === 'transfer',
  );
  const { ask, stop } = await openSessions();
  let before = await ask();
  for (const to of ['r2', 'r3', 'r1']) {
    const move = ['move', '0-255', '--to', to];
    await on(name, 'r1', process.execPath, command, ...move);
    const least = mayMove ? before.moved + sessions / 3 : 0;
    const answers = before.answers;
    before = await until(ask, (seen) => seen.moved >= least && seen.answers >= answers + 3 * sessions);
  }
  expect(before).toMatchObject({ open: sessions, wrong: 0, ended: 0 });
  if (mayMove) {
    // From r2 to r3 and from there to r1 they all moved.
    await until(ask, ({ moved }) => moved >= 2 * sessions);
    await until(
      () => statusOf(name, 'r1'),
      ({ holders }) => holders.length === 0,
    );
  } else {
    expect(before.moved).toBe(0);
    const log = readFileSync(join(labDirectory(name), 'r1', 'agent.log'), 'utf8');
    expect(log).toContain('connections are not moved to other replicas, only forwarded: packet hold: ');
  }
  stop();
});

test('a client that ends its side, before its connection moves or after, gets its whole answer, and its server hears of it once', async () => {
  const [answers, lines] = [40, 120];
  const { ask, stop } = client<{ ended: number; wrong: string[] }>(halfClosing, String(answers), String(lines));
  for (const to of ['r2', 'r3', 'r1']) await on(name, 'r1', process.execPath, command, 'move', '0-255', '--to', to);
  expect(await until(ask, ({ ended }) => ended === answers)).toEqual({ ended: answers, wrong: [] });
  stop();
});
