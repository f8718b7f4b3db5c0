import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openSdkEndpoint, type SdkEndpoint, type SdkEndpointOptions } from '../../src/agent/sdk-endpoint.ts';
import type { TcpFlow } from '../../src/base/tcp-flow.ts';
import { connectDescriptorChannel, type DescriptorChannel } from '../../src/platform/descriptor-passing.ts';
import { descriptorOf } from '../../src/sdk/held-socket.ts';

const port = 7001;
const ipv4 = (value: bigint) => ({ family: 4, value }) as const;
const flow: TcpFlow = { client: ipv4(0xc0000201n), clientPort: 1234, servicePort: port };
const flowText = { client: '192.0.2.1', clientPort: 1234, servicePort: port };

let directory = '';
let path = '';
let complaints: string[] = [];
let endpoint: SdkEndpoint;
const clients: Socket[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
  path = join(directory, 'run', 'sdk.socket');
  complaints = [];
  endpoint = await open();
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await endpoint.close();
  rmSync(directory, { recursive: true, force: true });
});

function open(options: Partial<SdkEndpointOptions> = {}): Promise<SdkEndpoint> {
  return openSdkEndpoint(path, { node: 'r1', answerMs: 300, onComplaint: (line) => complaints.push(line), ...options });
}

/** An application in another language: lines out, lines in. */
interface RawApplication {
  readonly descriptors: DescriptorChannel;
  say(message: object): void;
  next(): Promise<Record<string, unknown>>;
  close(): void;
}

function rawConnection() {
  const socket = connect(path);
  clients.push(socket);
  const lines: string[] = [];
  const waiting: ((line: string) => void)[] = [];
  let rest = '';
  socket.on('error', () => {});
  socket.setEncoding('utf8').on('data', (text) => {
    const all = (rest + text).split('\n');
    rest = all.pop() ?? '';
    for (const line of all) (waiting.shift() ?? ((each) => lines.push(each)))(line);
  });
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return {
    socket,
    closed,
    write: (text: string | Buffer) => socket.write(text),
    async next(): Promise<Record<string, unknown>> {
      const line = lines.shift() ?? (await new Promise<string>((resolve) => waiting.push(resolve)));
      return JSON.parse(line);
    },
  };
}

async function application(ports: readonly number[] = [port]): Promise<RawApplication> {
  const { write, next, socket } = rawConnection();
  const say = (message: object) => void write(`${JSON.stringify(message)}\n`);
  say({ type: 'hello', version: 1, ports });
  const { token, ...welcome } = await next();
  expect(welcome).toEqual({ type: 'welcome', version: 1, node: 'r1' });
  const descriptors = descriptorsOf(token);
  await until(() => ports.every((each) => endpoint.ports().includes(each)));
  const close = (): void => {
    descriptors.close();
    socket.destroy();
  };
  return { descriptors, say, next, close };
}

/** The second connection of the application that was given the token. */
function descriptorsOf(token: unknown): DescriptorChannel {
  const greeting = `${JSON.stringify({ type: 'descriptors', token })}\n`;
  return connectDescriptorChannel(path, new TextEncoder().encode(greeting));
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; !what(); i++) {
    if (i > 1000) throw new Error(`not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** From now on this process can open nothing; what is returned lets it again. */
function forbidDescriptors(): () => void {
  const RLIMIT_NOFILE = 7;
  const library = koffi.load('libc.so.6');
  const set = library.func('int setrlimit(int resource, void *limits)');
  const before = new BigUint64Array(2);
  library.func('int getrlimit(int resource, void *limits)')(RLIMIT_NOFILE, before);
  set(RLIMIT_NOFILE, BigUint64Array.of(3n, before[1] ?? 0n));
  return () => set(RLIMIT_NOFILE, before);
}

function openCount(): number {
  return readdirSync('/proc/self/fd').length;
}

/** A real connection, and its flow. */
async function tcpConnection() {
  const server = createServer();
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = connect((server.address() as { port: number }).port, '127.0.0.1');
  const socket = await accepted;
  server.close();
  clients.push(client, socket);
  const ports = { clientPort: socket.remotePort ?? 0, servicePort: socket.localPort ?? 0 };
  return {
    socket,
    flow: { client: ipv4(0x7f000001n), ...ports },
    flowText: { client: '127.0.0.1', ...ports },
  };
}

describe('the socket', () => {
  test('can be opened by its user and group, and by nobody else', () => {
    expect(statSync(path).mode & 0o777).toBe(0o660);
  });

  test('can be that of another group, where the agent may give it away', async () => {
    await endpoint.close();
    if (process.getuid?.() === 0) {
      endpoint = await open({ groupId: 12345 });
      expect([statSync(path).gid, statSync(path).mode & 0o777]).toEqual([12345, 0o660]);
    } else {
      await expect(open({ groupId: 12345 })).rejects.toThrow(`cannot listen on ${path}: EPERM`);
      endpoint = await open();
    }
  });

  test('is not taken from an agent that answers, but from one that is gone', async () => {
    await expect(open()).rejects.toThrow(`another agent answers on ${path}`);
    await endpoint.close();
    expect(existsSync(path)).toBe(false);
    const listen = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', listen]);
    expect(statSync(path).isSocket()).toBe(true);
    endpoint = await open();
  });
});

describe('an application is cut off with a reason that', () => {
  test.each([
    ['speaks no JSON', 'GET / HTTP/1.1\n', 'not JSON: GET / HTTP/1.1'],
    ['speaks another version', '{"type":"hello","version":2,"ports":[]}\n', 'version 2, spoken here is 1'],
    ['does not say hello', `{"type":"ports","ports":[1]}\n`, '"ports" before hello'],
    ['names no port', '{"type":"hello","version":1,"ports":[0]}\n', 'hello: ports is missing or not allowed'],
    [
      'names too many ports',
      `{"type":"hello","version":1,"ports":[${'1,'.repeat(1024)}1]}\n`,
      'hello: ports is missing or not allowed',
    ],
    ['knows no token', '{"type":"descriptors","token":"x"}\n', 'no application has that token'],
    [
      'sends an object of no type',
      '{"type":"constructor"}\n',
      'type: unknown, allowed are hello, descriptors, ports, frozen, refused, adopted, calmed, datagrams, receives, ceases, shared, seen, counted, exported, imported, passed',
    ],
  ])('%s', async (_what, line, reason) => {
    const { write, next, closed } = rawConnection();
    write(line);
    expect(await next()).toEqual({ type: 'error', reason });
    await closed;
    expect(complaints).toEqual([`sdk: ${reason}`]);
  });

  test('sends a line without an end', async () => {
    const { write, closed } = rawConnection();
    write(Buffer.alloc(4 * 1024 * 1024, 'x'));
    await closed;
    expect(complaints).toEqual(['sdk: a line is too long']);
  });

  test('comes when there are too many', async () => {
    for (let i = 0; i < 130; i++) rawConnection();
    await until(() => complaints.length > 0);
    expect(complaints[0]).toBe('sdk: more than 128 connections');
  });
});

test('an application whose second connection cannot be kept is cut off, and the next is heard', async () => {
  const { write, next, closed } = rawConnection();
  write(`${JSON.stringify({ type: 'hello', version: 1, ports: [port] })}\n`);
  const { token } = await next();
  const before = openCount();
  const second = rawConnection();
  await until(() => openCount() === before + 2);
  const restore = forbidDescriptors();
  try {
    second.write(`${JSON.stringify({ type: 'descriptors', token })}\n`);
    await Promise.all([closed, second.closed]);
  } finally {
    restore();
  }
  expect(complaints).toEqual([expect.stringMatching(/^sdk: fcntl failed: E/)]);
  (await application()).close();
});

test('an application that passes a file for its socket of UDP is cut off, and the file is closed', async () => {
  const { write, next, closed } = rawConnection();
  write('{"type":"datagrams","version":1}\n');
  const descriptors = descriptorsOf((await next()).token);
  expect(await next()).toEqual({ type: 'joined' });
  const before = openCount();
  const file = openSync('/dev/null', 'r');
  const descriptor = await descriptors.pass(file);
  closeSync(file);
  write(`${JSON.stringify({ type: 'receives', port, descriptor, hasSessions: false })}\n`);
  await closed;
  expect(complaints).toEqual([`sdk: an application passed something else than its socket of UDP on port ${port}`]);
  // Both ends of its first connection, and this end of the second.
  await until(() => openCount() === before - 3);
  descriptors.close();
});

describe('freezing', () => {
  test('comes after the application was asked to be calm, and has said that it is, or has ended', async () => {
    const { say, next, close } = await application();
    const calm = endpoint.calm([flow]);
    const { id, ...asked } = await next();
    expect(asked).toEqual({ type: 'calm', flows: [flowText] });
    say({ type: 'calmed', id, alone: [flowText] });
    expect(await calm).toEqual([flow]);
    const again = endpoint.calm([flow]);
    await next();
    close();
    await again;
  });

  test('asks the application that serves the port, and hands on what it answers', async () => {
    const { socket, flow, flowText } = await tcpConnection();
    const { say, next, descriptors, close } = await application([flow.servicePort]);
    const outcome = endpoint.freeze([flow]);
    expect(await next()).toEqual({ type: 'freeze', id: 1, flows: [flowText] });
    const descriptor = await descriptors.pass(descriptorOf(socket));
    say({ type: 'frozen', id: 1, flow: flowText, state: 'AQI=', unread: 'Aw==', descriptor });
    const [frozen] = await outcome;
    expect(frozen).toMatchObject({ ok: true, value: { state: Buffer.from([1, 2]), unread: Buffer.from([3]) } });
    if (frozen?.ok) closeSync(frozen.value.descriptor);
    expect(endpoint.thaw(flow)).toBe(true);
    expect(await next()).toEqual({ type: 'thaw', flow: flowText });
    expect(endpoint.thaw(flow)).toBe(false);
    close();
  });

  test('asks all that serve the port until one knows the connection', async () => {
    const applications = [await application(), await application(), await application()];
    const outcome = endpoint.freeze([flow]);
    for (const [i, code] of ['unknown', 'busy'].entries()) {
      const each = applications[i];
      const { id } = (await each?.next()) ?? {};
      each?.say({ type: 'refused', id, flow: flowText, code, reason: `of ${i}` });
    }
    expect(await outcome).toEqual([{ ok: false, code: 'busy', reason: 'of 1' }]);
    for (const each of applications) each.close();
  });

  test('waits for no silent application, and what it answers later is undone', async () => {
    const { socket, flow, flowText } = await tcpConnection();
    const { say, next, descriptors, close } = await application([flow.servicePort]);
    expect(await endpoint.freeze([flow])).toEqual([{ ok: false, code: 'silent', reason: 'no answer for 300 ms' }]);
    await next();
    const before = openCount();
    const descriptor = await descriptors.pass(descriptorOf(socket));
    say({ type: 'frozen', id: 1, flow: flowText, state: '', unread: '', descriptor });
    expect(await next()).toEqual({ type: 'thaw', flow: flowText });
    expect(openCount()).toBe(before);
    close();
  });

  test('is refused when the application ends', async () => {
    const { next, close } = await application();
    const outcome = endpoint.freeze([flow]);
    await next();
    close();
    expect(await outcome).toEqual([{ ok: false, code: 'gone', reason: 'the application has ended' }]);
    expect(endpoint.ports()).toEqual([]);
  });

  test.each(['a file', 'another connection', 'nothing'])('takes no descriptor of %s', async (what) => {
    const other = await tcpConnection();
    const { say, next, descriptors } = await application();
    const outcome = endpoint.freeze([flow]);
    await next();
    const before = openCount();
    const passed = what === 'a file' ? openSync('/dev/null', 'r') : descriptorOf(other.socket);
    const descriptor = what === 'nothing' ? 1 : await descriptors.pass(passed);
    say({ type: 'frozen', id: 1, flow: flowText, state: '', unread: '', descriptor });
    expect(await outcome).toEqual([
      { ok: false, code: 'gone', reason: 'the application passed something else than the connection' },
    ]);
    await until(() => endpoint.ports().length === 0);
    if (what === 'a file') closeSync(passed);
    // Both ends of its first connection, and this end of the second.
    await until(() => openCount() === before - 3);
    descriptors.close();
  });

  test('of many flows is asked for in messages of 256', async () => {
    const { say, next, close } = await application();
    const flows = Array.from({ length: 300 }, (_, i) => ({ ...flow, clientPort: i + 1 }));
    const outcome = endpoint.freeze(flows);
    for (const length of [256, 44]) {
      const { id, flows: asked } = await next();
      expect(asked).toHaveLength(length);
      for (const each of asked as object[]) say({ type: 'refused', id, flow: each, code: 'tls', reason: '' });
    }
    expect(new Set((await outcome).map((each) => !each.ok && each.code))).toEqual(new Set(['tls']));
    close();
  });
});

describe('adopting', () => {
  test('passes the connection, and its end', async () => {
    const { socket, flow, flowText } = await tcpConnection();
    const { say, next, descriptors, close } = await application([flow.servicePort]);
    const connection = { flow, state: Uint8Array.of(1), unread: Uint8Array.of(), descriptor: descriptorOf(socket) };
    const outcome = endpoint.adopt(connection);
    const { descriptor, ...asked } = await next();
    expect(asked).toEqual({ type: 'adopt', id: 1, flow: flowText, state: 'AQ==', unread: '' });
    closeSync(descriptors.take(Number(descriptor)));
    say({ type: 'adopted', id: 1, flow: flowText });
    expect(await outcome).toEqual({ ok: true, value: undefined });
    expect(endpoint.go(flow)).toBe(true);
    expect(await next()).toEqual({ type: 'go', flow: flowText });
    close();
  });

  test('is undone when the answer comes too late', async () => {
    const { socket, flow, flowText } = await tcpConnection();
    const { next, close } = await application([flow.servicePort]);
    const connection = { flow, state: Uint8Array.of(), unread: Uint8Array.of(), descriptor: descriptorOf(socket) };
    expect(await endpoint.adopt(connection)).toEqual({ ok: false, code: 'silent', reason: 'no answer for 300 ms' });
    await next();
    expect(await next()).toEqual({ type: 'drop', flow: flowText });
    expect(endpoint.go(flow)).toBe(false);
    close();
  });

  test('is refused where nobody serves the port', async () => {
    const connection = { flow, state: Uint8Array.of(), unread: Uint8Array.of(), descriptor: 0 };
    expect(await endpoint.adopt(connection)).toEqual({
      ok: false,
      code: 'unknown',
      reason: 'no application with the SDK serves port 7001',
    });
  });
});
