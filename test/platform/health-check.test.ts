import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { checkHealth, type HealthCheck } from '../../src/platform/health-check.ts';

const address = '127.0.0.1';
const servers: Server[] = [];
const sockets = new Set<Socket>();

/** Port of a server on loopback, which ends with the test. */
function listen(server: Server): Promise<number> {
  servers.push(server);
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  return new Promise((resolve) => {
    server.listen(0, address, () => resolve((server.address() as AddressInfo).port));
  });
}

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

async function portOfNobody(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  servers.pop();
  return port;
}

/** Its queue of connections is full: the kernel answers no further SYN. */
async function serverThatAcceptsNothing(): Promise<{ port: number; close(): Promise<unknown> }> {
  const worker = new Worker(
    `const server = require('node:net').createServer().listen({ host: '${address}', port: 0, backlog: 1 }, () => {
      require('node:worker_threads').parentPort.postMessage(server.address().port);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`,
    { eval: true },
  );
  const [port] = (await once(worker, 'message')) as [number];
  // The kernel holds one more than the backlog.
  const queued = [connect(port, address), connect(port, address)];
  await Promise.all(
    queued.map((socket) =>
      once(
        socket.on('error', () => {}),
        'connect',
      ),
    ),
  );
  return {
    port,
    close() {
      for (const socket of queued) socket.destroy();
      return worker.terminate();
    },
  };
}

function tcp(port: number, timeoutMs = 10_000): HealthCheck {
  return { kind: 'tcp', address, port, timeoutMs };
}

function http(port: number, more: { timeoutMs?: number; path?: string; host?: string } = {}): HealthCheck {
  return { kind: 'http', address, port, timeoutMs: 10_000, path: '/', host: address, expect: [200, 399], ...more };
}

/** What a check finds of a server that answers every connection with `answer`, once the server has seen its connection closed. */
async function answered(answer: (socket: Socket) => void, more: { timeoutMs?: number } = {}): Promise<string | null> {
  let closed: Promise<unknown> = Promise.resolve();
  const port = await listen(
    createServer((socket) => {
      closed = new Promise((resolve) => socket.on('close', resolve));
      socket.resume();
      answer(socket);
    }),
  );
  const problem = await checkHealth(http(port, more));
  await closed;
  return problem;
}

/** Writes `first`, then `rest` for as long as somebody reads. */
function endless(first: string, rest: string): (socket: Socket) => void {
  return (socket) => {
    const more = (): void => {
      while (!socket.destroyed && socket.write(rest));
    };
    socket.write(first);
    socket.on('drain', more);
    more();
  };
}

describe('a TCP check', () => {
  test('is good when the connection is accepted, and closes it', async () => {
    const server = createServer((socket) => socket.resume());
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    expect(await checkHealth(tcp(await listen(server)))).toBeNull();
    const [socket] = await accepted;
    if (!socket.closed) await once(socket, 'close');
  });

  test('fails at once when nobody listens', async () => {
    expect(await checkHealth(tcp(await portOfNobody()))).toBe('connection refused');
  });

  test('fails when the address is not reached', async () => {
    expect(await checkHealth({ ...tcp(80), address: '255.255.255.255' })).toBe('network is unreachable');
  });

  test('fails when nothing answers in time', async () => {
    const server = await serverThatAcceptsNothing();
    expect(await checkHealth(tcp(server.port, 50))).toBe('no answer within 50 ms');
    await server.close();
  });

  test('is not taken in by a connection with itself', () => {
    const host = fileURLToPath(new URL('health-check-host.mjs', import.meta.url));
    const flags = process.getuid?.() === 0 ? '-n' : '-Urn';
    const said = execFileSync('unshare', [flags, process.execPath, host], { encoding: 'utf8' });
    expect(JSON.parse(said)).toEqual({
      itself: true,
      tcp: 'nobody listens',
      http: expect.stringContaining('Parse Error'),
    });
  });

  test('ends when it is aborted, before and after it begins', async () => {
    const port = await listen(createServer());
    expect(await checkHealth(http(port), AbortSignal.abort())).toBe('stopped');
    const controller = new AbortController();
    const checked = checkHealth(http(port), controller.signal);
    controller.abort();
    expect(await checked).toBe('stopped');
  });

  test('that cannot even begin is a failure', async () => {
    expect(await checkHealth(tcp(65_536))).toContain('should be >= 0 and < 65536');
  });
});

describe('an HTTP check', () => {
  const serving = async (serve: RequestListener): Promise<number> => listen(createHttpServer(serve));

  test('asks for the path at the host', async () => {
    const asked: unknown[] = [];
    const port = await serving(({ method, url, headers }, response) => {
      asked.push([method, url, headers.host, headers['user-agent']]);
      response.end('good');
    });
    expect(await checkHealth(http(port, { path: '/ready?deep=1', host: 'web.example:8080' }))).toBeNull();
    expect(asked).toEqual([['GET', '/ready?deep=1', 'web.example:8080', 'manycast']]);
  });

  test.each([
    [199, 'status 199, expected is 200-399'],
    [200, null],
    [204, null],
    [302, null],
    [399, null],
    [400, 'status 400, expected is 200-399'],
    [503, 'status 503, expected is 200-399'],
  ])('judges status %i', async (status, problem) => {
    const found = await answered((socket) => socket.end(`HTTP/1.1 ${status} So\r\nContent-Length: 0\r\n\r\n`));
    // Node takes any other 1xx for an interim answer.
    expect(found).toBe(status === 199 ? 'socket hang up' : problem);
  });

  test('fails at once when nobody listens', async () => {
    expect(await checkHealth(http(await portOfNobody()))).toBe('connection refused');
  });

  test('fails when the server accepts and never answers, and closes the connection', async () => {
    expect(await answered(() => {}, { timeoutMs: 50 })).toBe('no answer within 50 ms');
  });

  test('fails when the body does not end in time', async () => {
    const half = (socket: Socket): void => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
    expect(await answered(half, { timeoutMs: 50 })).toBe('no answer within 50 ms');
  });

  test('fails at once for a bad status, however long its body takes', async () => {
    const half = (socket: Socket): void => void socket.write('HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nhalf');
    expect(await answered(half)).toBe('status 503, expected is 200-399');
  });

  test.each([
    ['before the answer', '', 'socket hang up'],
    ['in the header', 'HTTP/1.1 200 OK\r\nContent-', 'socket hang up'],
    ['in the body', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', 'the answer breaks off'],
    ['in a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf', 'the answer breaks off'],
  ])('fails when the server closes %s', async (_where, text, problem) => {
    expect(await answered((socket) => socket.end(text))).toBe(problem);
  });

  test.each([
    ['reset', (socket: Socket) => void socket.resetAndDestroy(), 'connection reset by peer'],
    ['no HTTP', (socket: Socket) => void socket.end('SSH-2.0-x\r\n'), 'Parse Error: Expected HTTP/'],
    [
      'another protocol',
      (socket: Socket) => void socket.write('HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
      'status 101, not asked for',
    ],
  ])('fails when the answer is %s', async (_what, answer, problem) => {
    expect(await answered(answer)).toContain(problem);
  });

  test.each([
    ['header', endless('HTTP/1.1 200 OK\r\nx: ', 'x'.repeat(1000)), 'Parse Error: Header overflow'],
    ['row of headers', endless('HTTP/1.1 200 OK\r\n', 'x: y\r\n'.repeat(100)), 'Parse Error: Header overflow'],
    ['row of interim answers', endless('', 'HTTP/1.1 100 Go\r\n\r\n'.repeat(50)), 'no status within 65536 bytes'],
    ['body', endless('HTTP/1.1 200 OK\r\n\r\n', 'x'.repeat(1000)), null],
    ['body of a bad answer', endless('HTTP/1.1 500 No\r\n\r\n', 'x'.repeat(1000)), 'status 500, expected is 200-399'],
  ])('reads no more than its bound of an endless %s', async (_what, answer, problem) => {
    expect(await answered(answer)).toBe(problem);
  });
});
