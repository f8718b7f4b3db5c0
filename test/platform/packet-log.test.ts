import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { flowOfReset, resetGroupOf } from '../../src/dataplane/held-resets.ts';

test('resets that rules hold back are read whole and let go again, by one process at a time', () => {
  const host = fileURLToPath(new URL('packet-log-host.mjs', import.meta.url));
  const flags = process.getuid?.() === 0 ? '-n' : '-Urn';
  expect(JSON.parse(execFileSync('unshare', [flags, process.execPath, host], { encoding: 'utf8' }))).toEqual({
    second: "NFLOG group 40000 is another program's, or this process may not listen to it",
    flows: true,
    first: '7f000001 1000 80',
    number: 0x01020304,
    bytes: 40,
    letGo: 10,
  });
});

test('what is no reset of an unknown connection is refused by what it is', () => {
  const reset = new Uint8Array(40);
  reset.set([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6]);
  reset[33] = 0x04;
  const altered = (at: number, value: number): Uint8Array => reset.map((byte, i) => (i === at ? value : byte));
  expect(flowOfReset(reset)).toMatchObject({ ok: true });
  expect(
    [reset.slice(0, 39), altered(0, 0x65), altered(0, 0x44), altered(0, 0x4f), altered(9, 17), altered(33, 0x14)].map(
      (packet) => flowOfReset(packet),
    ),
  ).toEqual([
    { ok: false, reason: 'no IPv4 packet' },
    { ok: false, reason: 'no IPv4 packet' },
    { ok: false, reason: 'no TCP packet' },
    { ok: false, reason: 'no TCP packet' },
    { ok: false, reason: 'no TCP packet' },
    { ok: false, reason: 'no reset without ACK' },
  ]);
});

test('each service has a group of its own name, in the upper half', () => {
  const groups = ['web', 'mail', 'a', ''].map(resetGroupOf);
  expect(new Set(groups).size).toBe(4);
  for (const group of groups) expect(group >> 15).toBe(1);
  expect(resetGroupOf('web')).toBe(groups[0]);
});
