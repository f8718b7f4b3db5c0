import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { TableRecord } from '../../src/scenario/records.ts';
import { watchTables } from '../../src/scenario/table-watch.ts';
import { partitionOf } from '../../src/space/index.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
const socket = join(directory, 'agent.sock');
afterAll(() => rmSync(directory, { recursive: true }));

/** An agent that tells these events to whoever watches, and goes on. */
async function agentTelling(...events: readonly object[]): Promise<Server> {
  const server = createServer((_request, response) => {
    for (const event of events) response.write(`${JSON.stringify(event)}\n`);
  });
  await once(server.listen(socket), 'listening');
  return server;
}

async function kill(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

const table = (end: number, slots: string): object => ({ type: 'table', begin: end - 1, end, slots });

test('the tables of one agent after the other are told, each once, until nobody wants to know more', async () => {
  const partition = partitionOf({ family: 4, value: 0xffn });
  if (!partition.ok) throw new Error(partition.reason);
  const seen: TableRecord[] = [];
  let arrived = (): void => {};
  const tables = (count: number): Promise<void> =>
    new Promise((resolve) => {
      arrived = () => {
        if (seen.length >= count) resolve();
      };
      arrived();
    });
  const watching = new AbortController();
  const onTable = (each: TableRecord): void => {
    seen.push(each);
    arrived();
  };
  const watched = watchTables(socket, 'r1', partition.value, onTable, watching.signal);

  const first = await agentTelling({ type: 'ledger' }, table(10, '0-2'), table(20, ''));
  await tables(2);
  await kill(first);
  const second = await agentTelling(table(20, ''), table(30, '7'));
  await tables(3);
  watching.abort();
  await watched;
  await kill(second);

  expect(seen).toEqual([
    { replica: 'r1', begin: 9, end: 10, slots: new Set([0, 1, 2]) },
    { replica: 'r1', begin: 19, end: 20, slots: new Set() },
    { replica: 'r1', begin: 29, end: 30, slots: new Set([7]) },
  ]);
});
