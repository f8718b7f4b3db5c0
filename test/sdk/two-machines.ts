import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Frozen } from '../../src/agent/sdk-application.ts';
import type { TcpFlow } from '../../src/base/tcp-flow.ts';

export type { Frozen };

import { openSdkEndpoint, type SdkEndpoint } from '../../src/agent/sdk-endpoint.ts';
import { parseIp } from '../../src/base/address.ts';

const main = fileURLToPath(new URL('application.mjs', import.meta.url));
const waitMs = 5000;

/** An application process, and the endpoint that it talks to. */
export interface Machine {
  readonly name: string;
  readonly path: string;
  readonly process: ChildProcess;
  readonly port: number;
  /** What the application has said. */
  readonly said: string[];
  endpoint: SdkEndpoint;
}

/**
 * Two machines that serve one port, on two loopback addresses of one kernel: instead of being exported and imported, a socket simply changes hands,
 * its very descriptor going from one application to the other.
 */
export interface TwoMachines {
  readonly a: Machine;
  readonly b: Machine;
  /** A connection to the application of `a`. */
  connect(): Promise<Socket>;
  flowOf(client: { readonly localPort?: number | undefined }): TcpFlow;
  /** From `a` to `b`, or the reason why not. */
  move(flow: TcpFlow): Promise<string>;
  /** An agent comes where one was closed. */
  openAgain(machine: Machine): Promise<void>;
  close(): Promise<void>;
}

export async function twoMachines(kind: string, env: Readonly<Record<string, string>> = {}): Promise<TwoMachines> {
  const directory = mkdtempSync(join(tmpdir(), 'manycast-sdk-'));
  const a = await machine('a', '127.0.0.1', 0);
  const b = await machine('b', '127.0.0.2', a.port);

  async function machine(name: string, address: string, port: number): Promise<Machine> {
    const path = join(directory, `${name}.socket`);
    const endpoint = await openSdkEndpoint(path, { node: name, answerMs: 1500 });
    const example = fileURLToPath(new URL(`../../examples/${kind}/server.mjs`, import.meta.url));
    const command = existsSync(example) ? [example] : [main, kind, address, String(port)];
    const child = spawn(process.execPath, command, {
      env: { ...process.env, ...env, NAME: name, HOST: address, PORT: String(port), MANYCAST_SDK_SOCKET: path },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const said: string[] = [];
    child.stdout.setEncoding('utf8').on('data', (text: string) => said.push(...text.split('\n').filter(Boolean)));
    await eventually(() => said.length > 0 && endpoint.ports().length > 0);
    return { name, path, process: child, said, endpoint, port: endpoint.ports()[0] ?? 0 };
  }

  return {
    a,
    b,
    connect: () =>
      new Promise((resolve, reject) => {
        const socket = connect({ port: a.port, host: '127.0.0.1', noDelay: true }, () => resolve(socket));
        socket.once('error', reject);
      }),
    flowOf: ({ localPort }) => flowOf(localPort ?? 0, a.port),
    async move(flow) {
      const frozen = (await a.endpoint.freeze([flow]))[0];
      if (!frozen?.ok) return codeOf(frozen);
      const adopted = await b.endpoint.adopt({ flow, ...frozen.value });
      if (adopted.ok) {
        a.endpoint.moved(flow);
        b.endpoint.go(flow);
      } else a.endpoint.thaw(flow);
      closeSync(frozen.value.descriptor);
      return adopted.ok ? 'moved' : codeOf(adopted);
    },
    async openAgain(machine) {
      machine.endpoint = await openSdkEndpoint(machine.path, { node: machine.name });
    },
    async close() {
      for (const { process, endpoint } of [a, b]) {
        await endpoint.close();
        if (process.exitCode === null && process.signalCode === null) {
          const ended = new Promise((resolve) => process.once('exit', resolve));
          process.kill('SIGKILL');
          await ended;
        }
      }
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export function flowOf(clientPort: number, servicePort: number): TcpFlow {
  const client = parseIp('127.0.0.1');
  if (!client.ok) throw new Error(client.reason);
  return { client: client.value, clientPort, servicePort };
}

/** Waits for something to become true, at most some seconds. */
export async function eventually(what: () => boolean): Promise<void> {
  for (let waitedMs = 0; !what(); waitedMs += 5) {
    if (waitedMs > waitMs) throw new Error(`not so after ${waitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What a client has received, as text. */
export function received(socket: Socket): { text(): string; until(end: string): Promise<string> } {
  let text = '';
  socket.on('data', (chunk) => {
    text += String(chunk);
  });
  return {
    text: () => text,
    async until(end) {
      await eventually(() => text.includes(end));
      return text;
    },
  };
}

export function descriptorCount(pid: number | undefined): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

export function codeOf(outcome: Frozen | undefined): string {
  return outcome && !outcome.ok ? `${outcome.code}: ${outcome.reason}` : 'no answer';
}
