import { expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import { newRow, ownRow } from '../../src/dataplane/forwarding-table.ts';
import type { Client, Connection } from '../../src/sim/client.ts';
import { Life } from '../../src/sim/life.ts';
import { bench, program } from './bench.ts';

const slot = 1;

async function serving(): Promise<
  ReturnType<typeof bench> & { readonly client: Client; readonly flows: ReturnType<typeof tableOf> }
> {
  const made = bench();
  await program(made.world, made.hosts[0], { [slot]: ownRow });
  return { ...made, client: defined(made.world.clients[slot], 'a client'), flows: tableOf(made) };
}

function tableOf({ world, hosts }: ReturnType<typeof bench>) {
  return hosts[0].stack.tableFor(new Life(world.timeline, world.scheduling));
}

const isOpen = ({ client, port }: Connection): boolean => client.connections.has(port);

test('a host lists its flows, half open ones too, until their clients close them', async () => {
  const { timeline, client, flows } = await serving();
  const connection = client.connect();
  await timeline.run(3);
  expect(flows.list()).toMatchObject([{ client: client.address, clientPort: connection.port, servicePort: 80 }]);
  for (let second = 0; second < 60 && isOpen(connection); second++) await timeline.run(1000);
  expect(connection).toMatchObject({ state: 'closing', request: connection.requests });
  expect(flows.list().some(({ clientPort }) => clientPort === connection.port)).toBe(false);
  expect(timeline.violation).toBeNull();
});

test('with cookies there is nothing to list before the ACK of the client', async () => {
  const { timeline, world, client, flows } = await serving();
  world.lan.synCookies = true;
  world.lan.send({ kind: 'syn', client, port: 7, serverIsn: 0, request: 0, answered: null });
  await timeline.run(10);
  expect(flows.list()).toEqual([]);
  const connection = client.connect();
  await timeline.run(10);
  expect([connection.state, flows.list().length]).toEqual(['established', 1]);
});

test('a flow that is destroyed ends at its client at once', async () => {
  const { timeline, client, flows } = await serving();
  const connection = client.connect();
  await timeline.run(10);
  const before = flows.list();
  expect([flows.destroy(before), flows.destroy(before)]).toEqual([1, 0]);
  await timeline.run(3);
  expect(isOpen(connection)).toBe(false);
  // The owner of the slot did it, without a move: that is what the checkers are for.
  expect(timeline.violation?.what).toContain('is reset by n1');
});

test('a host resets what it does not know for settled slots only', async () => {
  const { timeline, world, hosts, client } = await serving();
  const connection = client.connect();
  await timeline.run(10);
  hosts[0].crash();
  await program(world, hosts[1], { [slot]: newRow });
  await timeline.run(2000);
  expect(isOpen(connection)).toBe(true);
  await program(world, hosts[1], { [slot]: ownRow });
  await timeline.run(2000);
  expect(isOpen(connection)).toBe(false);
  expect(timeline.violation).toBeNull();
});
