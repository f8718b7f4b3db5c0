import { expect, test } from 'vitest';
import { ipAddress } from '../../src/base/address.ts';
import { type ClientEnd, DatagramSessions, remoteInfoOf } from '../../src/sdk/datagram-sessions.ts';

const one = { client: ipAddress(4, 0xc000_0201n), clientPort: 4000 };
const other = { client: ipAddress(4, 0xc000_0202n), clientPort: 4000 };

/** What the application and the agent hear, in order. */
function bench(exportState: (client: ClientEnd) => Uint8Array | null = () => Uint8Array.of(7)) {
  const heard: string[] = [];
  const sessions = new DatagramSessions(
    { exportState, importState: ({ address }, state) => void heard.push(`import ${address} ${state[0]}`) },
    {
      deliver: (message, { address }) => void heard.push(`take ${address} ${message}`),
      pass: (_client, message) => void heard.push(`pass ${message}`),
    },
  );
  const arrives = (client: typeof one, text: string): boolean =>
    !sessions.withholds(Buffer.from(text), remoteInfoOf(client, text.length));
  return { sessions, heard, arrives };
}

test('a session that stands still holds its datagrams back, and takes them in order when it stays', () => {
  const { sessions, heard, arrives } = bench();
  expect(sessions.export([one, other])).toEqual([
    { ...one, state: Uint8Array.of(7) },
    { ...other, state: Uint8Array.of(7) },
  ]);
  expect([arrives(one, 'a'), arrives(other, 'x'), arrives(one, 'b')]).toEqual([false, false, false]);
  sessions.stay([one]);
  expect(heard).toEqual(['take 192.0.2.1 a', 'take 192.0.2.1 b']);
  expect([arrives(one, 'c'), arrives(other, 'y')]).toEqual([true, false]);
  sessions.abandon();
  expect(heard.slice(2)).toEqual(['take 192.0.2.2 x', 'take 192.0.2.2 y']);
});

test('of a session that has gone all datagrams are passed on, until its flow is kept no longer', () => {
  const { sessions, heard, arrives } = bench();
  sessions.export([one]);
  arrives(one, 'a');
  sessions.gone([one]);
  expect([arrives(one, 'b'), heard]).toEqual([false, ['pass a', 'pass b']]);
  sessions.follow([one, other]);
  expect([arrives(one, 'c'), sessions.hasGone(one)]).toEqual([false, true]);
  sessions.follow([other]);
  expect([arrives(one, 'd'), sessions.hasGone(one)]).toEqual([true, false]);
});

test('a session that came begins with its next datagram, and not at all when it is withdrawn', () => {
  const { sessions, heard, arrives } = bench();
  expect(
    sessions.import([
      { ...one, state: Uint8Array.of(3) },
      { ...other, state: Uint8Array.of(4) },
    ]),
  ).toBe(true);
  sessions.withdraw([other]);
  expect(heard).toEqual([]);
  expect([arrives(one, 'a'), arrives(one, 'b'), arrives(other, 'c')]).toEqual([true, true, true]);
  expect(heard).toEqual(['import 192.0.2.1 3']);
});

test.each([
  ['says no', () => null],
  [
    'throws',
    () => {
      throw new Error('no');
    },
  ],
  ['gives more than 32 KiB', () => new Uint8Array(32 * 1024 + 1)],
])('a session stays, and goes on, whose application %s', (_what, exportState) => {
  const { sessions, arrives } = bench(exportState);
  expect(sessions.export([one])).toEqual([]);
  expect(arrives(one, 'a')).toBe(true);
});

test('a session that stands still is not exported once more', () => {
  const { sessions } = bench();
  sessions.export([one]);
  expect(sessions.export([one])).toEqual([]);
});
