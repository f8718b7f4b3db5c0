import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { openControlSocket, type Route } from '../../src/agent/control-socket.ts';
import { OperatingError } from '../../src/base/operating-error.ts';
import { askAgent, askAgentOnce } from '../../src/platform/agent-client.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
const path = join(directory, 'run', 'agent.sock');
let socket: { close(): Promise<void> } | null = null;

afterEach(async () => {
  await socket?.close();
  socket = null;
  rmSync(directory, { recursive: true, force: true });
});

const routes = new Map<string, Route>([
  ['GET /v1/status', async (_body, say) => say({ node: 'r1' })],
  [
    'POST /v1/count',
    async (body, say) => {
      for (let i = 1; i <= Number(body); i++) say({ i });
    },
  ],
  [
    'POST /v1/refuse',
    async (_body, say) => {
      say({ step: 1 });
      throw new OperatingError('policy', 'strategy: missing');
    },
  ],
]);

async function linesOf(asked: AsyncIterable<unknown>): Promise<unknown[]> {
  const lines: unknown[] = [];
  for await (const line of asked) lines.push(line);
  return lines;
}

/** A process that was killed leaves its socket behind: a name that nobody listens on. */
function leaveStaleSocket(): void {
  const listen = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', listen]);
}

describe('the local socket', () => {
  test('can be opened by its user alone', async () => {
    socket = await openControlSocket(path, routes);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, 'run')).mode & 0o777).toBe(0o700);
  });

  test('answers a question with one line, and a longer one with several', async () => {
    socket = await openControlSocket(path, routes);
    expect(await askAgentOnce(path, 'GET', '/v1/status')).toEqual({ node: 'r1' });
    expect(await linesOf(askAgent(path, 'POST', '/v1/count', '3'))).toEqual([{ i: 1 }, { i: 2 }, { i: 3 }]);
  });

  test('refuses with a reason, also half-way', async () => {
    socket = await openControlSocket(path, routes);
    await expect(linesOf(askAgent(path, 'POST', '/v1/refuse'))).rejects.toThrow('strategy: missing');
    await expect(askAgentOnce(path, 'GET', '/v2/status')).rejects.toThrow('no GET /v2/status here');
    await expect(askAgentOnce(path, 'POST', '/v1/count', ' '.repeat(65_537))).rejects.toThrow('more than 65536 bytes');
  });

  test('is not taken from an agent that answers, but from one that is gone', async () => {
    socket = await openControlSocket(path, routes);
    await expect(openControlSocket(path, routes)).rejects.toThrow(`another agent answers on ${path}`);
    expect(await askAgentOnce(path, 'GET', '/v1/status')).toEqual({ node: 'r1' });
    await socket.close();
    leaveStaleSocket();
    expect(statSync(path).isSocket()).toBe(true);
    socket = await openControlSocket(path, routes);
    expect(await askAgentOnce(path, 'GET', '/v1/status')).toEqual({ node: 'r1' });
  });

  test('gives each line when it is said, and tells the route when its reader has gone', async () => {
    let gone = (): void => {};
    const readerGone = new Promise<void>((resolve) => {
      gone = resolve;
    });
    const events: Route = async (_body, say, closed) => {
      say({ event: 1 });
      await new Promise<void>((resolve) => closed.addEventListener('abort', () => resolve()));
      gone();
    };
    socket = await openControlSocket(path, new Map([['GET /v1/events', events]]));
    // The route never ends by itself: the line comes before its end, or not at all.
    for await (const line of askAgent(path, 'GET', '/v1/events')) {
      expect(line).toEqual({ event: 1 });
      break;
    }
    await readerGone;
  });

  test('of an agent that ends in the middle of an answer is told to have done so', async () => {
    const opened = await openControlSocket(
      path,
      new Map<string, Route>([
        [
          'GET /v1/events',
          async (_body, say, closed) => {
            say({ event: 1 });
            await new Promise<void>((resolve) => closed.addEventListener('abort', () => resolve()));
          },
        ],
      ]),
    );
    const asked = askAgent(path, 'GET', '/v1/events');
    expect((await asked.next()).value).toEqual({ event: 1 });
    await opened.close();
    await expect(asked.next()).rejects.toThrow(`the agent on ${path} ended before its answer did`);
  });

  test('gives up an answer that its reader does not read', async () => {
    const line = { text: 'x'.repeat(64 * 1024) };
    let end = (_how: { lines: number; givenUp: boolean }): void => {};
    const ended = new Promise<{ lines: number; givenUp: boolean }>((resolve) => {
      end = resolve;
    });
    const endless: Route = async (_body, say, closed) => {
      let lines = 0;
      for (; !closed.aborted && lines < 1000; lines++) {
        say(line);
        await new Promise((resolve) => setImmediate(resolve));
      }
      end({ lines, givenUp: closed.aborted });
    };
    socket = await openControlSocket(path, new Map([['GET /v1/events', endless]]));
    const reader = connect(path);
    reader.pause();
    reader.on('error', () => {});
    reader.write('GET /v1/events HTTP/1.1\r\nHost: agent\r\n\r\n');
    const how = await ended;
    reader.destroy();
    expect(how.givenUp).toBe(true);
    // Not before the 4 MiB that may wait.
    expect(how.lines).toBeGreaterThanOrEqual(64);
  });

  test('that nobody listens on is said to be so', async () => {
    await expect(askAgentOnce(path, 'GET', '/v1/status')).rejects.toThrow(`no agent answers on ${path}`);
  });
});
