import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, vi } from 'vitest';

const waiting = { timeout: 10_000, interval: 20 };

export interface Place {
  readonly directory: string;
  /** What is started is added. */
  readonly children: ChildProcess[];
}

/** Ends what was started, and waits for it. */
export async function endAll(children: ChildProcess[]): Promise<void> {
  await Promise.all(
    children.splice(0).map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill();
      await once(child, 'close');
    }),
  );
}

/** Knot with zones by origin, each in a file; `isSigning`: it makes keys and signs them. Resolves with its port. */
export async function startKnot(
  files: ReadonlyMap<string, string>,
  { directory, children }: Place,
  isSigning = false,
): Promise<number> {
  const port = await freePort();
  const rundir = join(directory, `knot${port}`);
  mkdirSync(rundir);
  const options = `zonefile-sync: -1\n    journal-content: none\n${isSigning ? '    dnssec-signing: on\n    zonefile-load: whole\n' : ''}`;
  const zones = [...files].map(([origin, file]) => `  - domain: ${origin}\n    file: ${file}\n    ${options}`);
  const config = join(rundir, 'knot.conf');
  const server = `server:\n    listen: 127.0.0.1@${port}\n    rundir: ${rundir}\ndatabase:\n    storage: ${rundir}\n`;
  writeFileSync(config, `${server}log:\n  - target: stderr\n    any: info\nzone:\n${zones.join('')}`);
  // By itself it would make a directory in /tmp, which is not everybody's everywhere.
  const database = join(rundir, 'confdb');
  execFileSync('knotc', ['-C', database, 'conf-import', '-f', config], { env: withAdministration(), stdio: 'pipe' });
  const told = start('knotd', ['-C', database], children);
  await vi.waitFor(() => {
    const loaded = told().match(isSigning ? /next signing/g : /loaded(?! configuration)/g)?.length ?? 0;
    expect(loaded, told()).toBeGreaterThanOrEqual(files.size);
  }, waiting);
  return port;
}

/** Unbound, which asks the server on `upstream` for zones and verifies them by these keys (DNSKEY records as text). Resolves with its port. */
export async function startUnbound(
  upstream: number,
  keys: ReadonlyMap<string, readonly string[]>,
  { directory, children }: Place,
): Promise<number> {
  const port = await freePort();
  const config = join(directory, `unbound${port}.conf`);
  const anchors = [...keys].flatMap(([, records]) => records.map((record) => `  trust-anchor: "${record}"`));
  const local = [...keys].map(([origin]) => `  local-zone: "${origin}." nodefault`);
  const stubs = [...keys].map(([origin]) => `stub-zone:\n  name: "${origin}."\n  stub-addr: 127.0.0.1@${upstream}\n`);
  const server = [
    ...['server:', `  interface: 127.0.0.1@${port}`, '  do-daemonize: no', '  chroot: ""', '  username: ""'],
    ...['  pidfile: ""', '  use-syslog: no', '  do-not-query-localhost: no', '  module-config: "validator iterator"'],
    ...['  do-ip6: no', '  verbosity: 1', `  directory: "${directory}"`, ...local, ...anchors],
    ...['remote-control:', '  control-enable: no', ...stubs, ''],
  ];
  writeFileSync(config, server.join('\n'));
  const told = start('unbound', ['-d', '-c', config], children);
  await vi.waitFor(() => expect(told()).toContain('start of service'), waiting);
  return port;
}

/** With the folder of servers, which an ordinary user's path may lack. */
function withAdministration(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
}

/** Everything that it says from here on. */
function start(command: string, args: readonly string[], children: ChildProcess[]): () => string {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env: withAdministration() });
  children.push(child);
  let text = '';
  child.stderr?.on('data', (chunk) => (text += chunk));
  return () => text;
}

/** Of 127.0.0.1, for UDP and TCP. */
async function freePort(): Promise<number> {
  for (;;) {
    const tcp = createServer().listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const address = tcp.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const udp = createSocket('udp4').bind(port, '127.0.0.1');
    const isFree = await Promise.race([once(udp, 'listening').then(() => true), once(udp, 'error').then(() => false)]);
    await new Promise<void>((resolve) => tcp.close(() => resolve()));
    await new Promise<void>((resolve) => udp.close(() => resolve()));
    if (isFree) return port;
  }
}
