import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { ScenarioReport } from '../../src/scenario/index.ts';

export const command = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
export const serviceAddress = '10.77.0.100';

const waitMsMax = 10_000;
const pollMs = 50;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A name that no other run uses at the same time. */
export function labName(letter: string): string {
  return `${letter}${process.pid.toString(36)}`.slice(0, 10);
}

/** Runs `manycast` with arguments, to its end. */
export function manycast(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...args], { maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
      resolve({ code, stdout, stderr });
    });
  });
}

/** Starts `manycast` and leaves it running. */
export function startManycast(...args: string[]): ChildProcess {
  return spawn(process.execPath, [command, ...args], { stdio: 'pipe' });
}

/** Runs a command on a node of a lab; it must succeed. */
export async function on(name: string, node: string, ...argv: string[]): Promise<string> {
  const ran = await manycast('lab', 'exec', name, node, '--', ...argv);
  expect(ran, `${argv.join(' ')}: ${ran.stderr}`).toMatchObject({ code: 0 });
  return ran.stdout;
}

export function labDirectory(name: string): string {
  return join(tmpdir(), `manycast-${process.getuid?.() ?? 0}`, 'lab', name);
}

export interface StatusSeen {
  readonly verdict: string;
  readonly epoch: number;
  readonly settled: boolean;
  readonly policy: { readonly strategy: string } | null;
  readonly policyFile: { readonly state: string; readonly problem: string | null };
  readonly peers: readonly { readonly name: string; readonly via: string | null }[];
  readonly owners: readonly { readonly name: string; readonly slots: string; readonly count: number }[];
  readonly holders: readonly unknown[];
}

export async function statusOf(name: string, replica: string): Promise<StatusSeen> {
  const ran = await manycast('lab', 'exec', name, replica, '--', process.execPath, command, 'status', '--json');
  return JSON.parse(ran.stdout) as StatusSeen;
}

/** The status once nobody holds connections of slots that are another's: until then the epoch may still grow. */
export function restingStatusOf(name: string, replica: string): Promise<StatusSeen> {
  return until(
    () => statusOf(name, replica),
    ({ settled, holders }) => settled && holders.length === 0,
  );
}

/** Asks again until the answer is as wanted; fails with the last answer after a bound. */
export async function until<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean): Promise<T> {
  const end = Date.now() + waitMsMax;
  for (;;) {
    const answer = await ask();
    if (wanted(answer)) return answer;
    if (Date.now() > end) throw new Error(`still ${JSON.stringify(answer)} after ${waitMsMax} ms`);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** All addresses of a client machine. */
export async function addressesOf(name: string, client: string): Promise<string[]> {
  const listed = await on(name, client, 'ip', '-json', '-4', 'address', 'show', 'dev', 'eth0');
  return (JSON.parse(listed) as { addr_info: { local: string }[] }[]).flatMap((each) =>
    each.addr_info.map(({ local }) => local),
  );
}

/** Asks the service from each address of a client machine, all at once: who answered, empty for nobody. */
export async function answersTo(
  name: string,
  client: string,
  addresses: readonly string[],
): Promise<Map<string, string>> {
  const ask = (each: string): string => `echo ${each} $(curl -s -m 8 --interface ${each} http://${serviceAddress}/) &`;
  const lines = (await on(name, client, 'sh', '-c', [...addresses.map(ask), 'wait'].join('\n'))).trim().split('\n');
  return new Map(
    lines.map((line) => {
      const [address = '', answer = ''] = line.split(' ');
      return [address, answer];
    }),
  );
}

/** Every address of a client machine is answered by whoever owns its slot. */
export async function expectOwnersToAnswer(name: string, client: string, status: StatusSeen): Promise<void> {
  const addresses = await addressesOf(name, client);
  const owners = Object.fromEntries(addresses.map((address) => [address, ownerOf(status, address)]));
  expect(Object.fromEntries(await answersTo(name, client, addresses))).toEqual(owners);
}

/** Who owns a client's slot (the last byte of its address) by a status. */
export function ownerOf(status: StatusSeen, client: string): string {
  const slot = Number(client.split('.').at(-1));
  const owner = status.owners.find(({ slots }) =>
    slots.split(',').some((range) => {
      const [first = Number.NaN, last = first] = range.split('-').map(Number);
      return slot >= first && slot <= last;
    }),
  );
  return owner?.name ?? 'nobody';
}

/** What a lab of this name has left behind on this machine, of any kind. */
export function leftovers(name: string): string[] {
  const found: string[] = [];
  if (existsSync(labDirectory(name))) found.push(labDirectory(name));
  if (existsSync('/run/netns')) {
    found.push(...readdirSync('/run/netns').filter((each) => each.startsWith(`mc-${name}-`)));
  }
  for (const pid of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
    const line = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
    // A server names itself as it likes; its directory or its environment tells whose it is.
    const about = `${line} ${read(`/proc/${pid}/environ`)} ${link(`/proc/${pid}/cwd`)}`;
    if (about.includes(`/lab/${name}/`) || about.includes(`mc-${name}-`)) found.push(line);
  }
  return found;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** Runs a scenario on a lab to its judgement: exit code 0 or 2, and the report that it wrote to `directory`. */
export async function runScenarioFile(
  file: string,
  directory: string,
  ...options: string[]
): Promise<{ readonly code: number; readonly report: ScenarioReport }> {
  const { code, stderr } = await manycast('scenario', 'run', file, '--on', 'lab', ...options, '--report', directory);
  expect([0, 2], stderr).toContain(code);
  return { code, report: JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8')) as ScenarioReport };
}
