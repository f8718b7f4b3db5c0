import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { command } from './lab-under-test.ts';

const nobody = 65_534;
let home = '';

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'manycast-test-'));
  chmodSync(home, 0o700);
  if (isRoot) chownSync(home, nobody, nobody);
});
afterAll(() => rmSync(home, { recursive: true }));

const isRoot = process.getuid?.() === 0;

/** Runs `manycast` as a user with no privilege, where nobody may make user namespaces: that can only be forbidden from within one. */
async function asNobody(...args: string[]): Promise<{ readonly code: number | null; readonly said: string }> {
  const inside = `echo 0 > /proc/sys/user/max_user_namespaces && ip link set lo up &&
    exec setpriv --reuid ${nobody} --regid ${nobody} --clear-groups "$@"`;
  // Only a program that begins after the users are known is root in there.
  const script = 'read -r go && exec sh -c "$INSIDE" sh "$@"';
  const child = spawn('unshare', ['-Un', 'sh', '-c', script, 'sh', process.execPath, command, ...args], {
    env: { PATH: process.env.PATH, INSIDE: inside, TMPDIR: home },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => lines.push(String(chunk)));
  const own = readlinkSync('/proc/self/ns/user');
  while (readlinkSync(`/proc/${child.pid}/ns/user`) === own) await new Promise((resolve) => setTimeout(resolve, 5));
  for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${child.pid}/${map}`, '0 0 65536');
  child.stdin.end('go\n');
  const [code] = await once(child, 'close');
  return { code, said: lines.join('') };
}

test.skipIf(!isRoot)(
  'who has neither root nor namespaces is shown group delivery, is told so, and none is answered twice',
  async () => {
    const { code, said } = await asNobody('scenario', 'run', 'scenarios/demo.yaml', '--on', 'lab', '--report', home);
    expect(said).toContain(
      'this user may not make user namespaces, which a lab needs; so group-local.yaml runs instead, which needs none',
    );
    const report = JSON.parse(readFileSync(join(home, 'report.json'), 'utf8'));
    expect(report.expectations.filter(({ passed }: { passed: boolean }) => !passed)).toEqual([]);
    expect([code, report.name, report.measures['datagrams.wrong']]).toEqual([0, 'grouplocal', 0]);
    expect(readdirSync(join(home, `manycast-${nobody}`, 'lab'))).toEqual([]);
  },
  120_000,
);
