import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
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
    writeFileSync(path, '');
    socket = await openControlSocket(path, routes);
    expect(await askAgentOnce(path, 'GET', '/v1/status')).toEqual({ node: 'r1' });
  });

  test('that nobody listens on is said to be so', async () => {
    await expect(askAgentOnce(path, 'GET', '/v1/status')).rejects.toThrow(`no agent answers on ${path}`);
  });
});
