import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = process.getuid?.() === 0;
/** A connection that stands still for ever fails its test, and not the whole run. */
const runMsMax = 60_000;
const pathOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** What a case of the script says, run in a network of its own. */
function said(name: string): unknown {
  const command = ['sh', '-c', 'ip link set lo up && exec "$@"', 'sh', process.execPath, pathOf('tcp-repair-host.mjs')];
  return JSON.parse(
    execFileSync('unshare', [root ? '-n' : '-Urn', ...command, name], { encoding: 'utf8', timeout: runMsMax }),
  );
}

describe('a connection frozen and imported on the same host', () => {
  const whole = { differing: [], heard: ['unread and more', 'moved'], clock: true, selectiveAcks: true, window: true };

  test('is the same connection again, whatever its server listens on and whatever its ends agreed on', () => {
    const scales = [expect.any(Number), expect.any(Number)];
    expect(said('roundTrip')).toEqual({
      '127.0.0.1': { ...whole, scales, family: 4 },
      '::1': { ...whole, scales, family: 6 },
      '::': { ...whole, scales, family: 4 },
      bare: { ...whole, clock: null, scales: [0, 0], selectiveAcks: false, family: 4 },
    });
  });

  test('lets a server bind again that was stopped, and its buffers grow by themselves', () => {
    expect(said('restarted')).toEqual({ heard: 'alive', locks: [0, 0, 0, 0], restarted: 'listening' });
  });

  test('is not taken where its address is not, nor twice, and nothing is left behind', () => {
    const refusal = (call: string) => ({
      code: 'tcp-repair',
      message: `import: the kernel does not take this connection: ${call} failed: EADDRNOTAVAIL`,
    });
    expect(said('refused')).toEqual({ elsewhere: refusal('bind'), twice: refusal('connect'), left: 0 });
  });
});

test('a half-closed connection is refused with the reason, and goes on', () => {
  const reasons = ['FIN_WAIT\\d', 'CLOSE_WAIT'].map((state) =>
    expect.stringMatching(`^half-closed \\(${state}\\): its end of stream cannot be moved$`),
  );
  expect(said('halfClosed')).toEqual({ reasons, heard: 'still heard', closed: null });
});

test('a connection that cannot be cut off goes on as it was', () => {
  expect(said('locked')).toEqual({
    refused: 'setsockopt failed: EPERM',
    inRepair: false,
    heard: ['to the server', 'to the client'],
  });
});

test('a frozen connection takes nothing; thawed it goes on with what is sent again, and its server can bind again', () => {
  const heard = ['before during', 'after'];
  // After a while unlike the first image, and like one of its own.
  expect(said('thaw')).toEqual({ ok: true, unchanged: true, heard, changed: [false, true], restarted: 'listening' });
});

test('closing silently sends nothing, whoever else holds the socket and whatever was not read', () => {
  expect(said('silent')).toEqual({ seen: [], packets: 3 });
});

test('what was never sent arrives whole where the kernel takes little that it cannot send', () => {
  // Without a bound while it is frozen, then as the host has it.
  expect(said('unsent')).toEqual({ unsent: true, whole: true, limits: [-1, 0] });
});

test('a connection is reset for its client, frozen or live, whoever else holds the socket', () => {
  const ended = { heard: 'ECONNRESET', adopted: false };
  expect(said('reset')).toEqual([ended, ended]);
});

test('without CAP_NET_ADMIN a connection is not frozen, and one line says why', () => {
  // Root of a user namespace of its own has no say over the network outside.
  const host = pathOf('tcp-repair-host.mjs');
  const text = execFileSync('unshare', ['-U', process.execPath, host, 'denied'], {
    encoding: 'utf8',
    timeout: runMsMax,
  });
  expect(JSON.parse(text)).toEqual({
    code: 'tcp-repair',
    message: 'this process may not move TCP connections: it lacks CAP_NET_ADMIN',
    remedy: 'run it as root, or with AmbientCapabilities=CAP_NET_ADMIN in its systemd unit',
  });
});

// Ordinary users may not open /dev/net/tun.
describe.runIf(root)('between two hosts that share an address', () => {
  interface Moved {
    readonly family: 4 | 6;
    readonly full: boolean;
    /** What ss tells of the connection before, and after. */
    readonly kept: { readonly options: boolean; readonly scale: string; readonly mss: string };
    readonly keeps: unknown;
    /** Bytes to be acknowledged, of them unsent, and unread. */
    readonly queues: readonly [number, number, number];
    readonly held: number;
    readonly resets: readonly number[];
    readonly [key: string]: unknown;
  }

  test('a stream both ways at full speed, and one with both queues full, moves without a byte, an option or a packet lost', {
    timeout: 120_000,
  }, () => {
    const isolated = ['-mn', '--propagation', 'private', 'sh', '-c', 'mount -t tmpfs tmpfs /run && exec "$@"', 'sh'];
    const command = [...isolated, process.execPath, pathOf('tcp-move-host.mjs')];
    const { moves, uncut } = JSON.parse(execFileSync('unshare', command, { encoding: 'utf8', timeout: runMsMax })) as {
      readonly moves: readonly Moved[];
      readonly uncut: { readonly said: readonly string[] };
    };
    // Not cut off first, a connection is read whole or refused, and goes on.
    expect(uncut).toEqual({ said: expect.any(Array), exact: [true, true], streams: [0, 0] });
    for (const each of uncut.said) expect(each).toMatch(/^(whole|packets still arrive: it changed while it was read)$/);
    expect(moves.map(({ family, full }) => [family, full])).toEqual([
      [4, false],
      [4, true],
      [6, false],
      [6, true],
    ]);
    for (const { family, full, kept, keeps, queues, held, resets, ...seen } of moves) {
      // Time-outs are told and not judged: a machine that is busy has some.
      expect(seen).toMatchObject({
        exact: [true, true],
        streams: [0, 0],
        dropped: 0,
      });
      // Of the two hosts; the client's kernel answers so what comes late for a stream that has ended.
      expect(resets.slice(0, 2)).toEqual([0, 0]);
      expect({ options: kept.options, mss: Number(kept.mss) }).toEqual({
        options: true,
        mss: family === 4 ? 1448 : 1428,
      });
      expect(keeps).toEqual(kept);
      // Larger than any default, so that they had to be made to fit.
      if (full) for (const bytes of queues) expect(bytes).toBeGreaterThan(500_000);
      else expect(held).toBeGreaterThan(0);
    }
  });
});
