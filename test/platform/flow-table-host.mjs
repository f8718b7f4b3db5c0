// Runs inside a network namespace of its own: two servers, one client each; destroys the flows of one slot and tells what its clients saw.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { openFlowTable } from '../../dist/platform/socket-diagnostics.js';

execFileSync('ip', ['link', 'set', 'lo', 'up']);
const service = { family: 4, value: 0x7f000001n };
const table = openFlowTable(service);
const results = [];
for (const host of ['0.0.0.0', '::']) {
  const accepted = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    accepted.push(socket);
  });
  server.listen({ port: 0, host });
  await once(server, 'listening');
  const { port } = server.address();
  const clients = ['127.0.0.7', '127.0.0.8'].map((localAddress) => connect({ host: '127.0.0.1', port, localAddress }));
  const ends = clients.map((client) => new Promise((resolve) => client.once('error', (error) => resolve(error.code))));
  await Promise.all(clients.map((client) => once(client, 'connect')));
  while (accepted.length < 2) await once(server, 'connection');
  const ours = table.list().filter((flow) => flow.servicePort === port);
  // Their addresses are not the service's.
  const clientEnds = table.list().filter((flow) => flow.clientPort === port).length;
  const other = { ...ours[0], clientPort: ours[0].clientPort ^ 1 };
  const listening = { client: { family: 4, value: 0x7f000009n }, clientPort: 9, servicePort: port };
  const found = table.find([listening, ...ours, other]);
  const ofSeven = ours.filter((flow) => flow.client.value === 0x7f000007n);
  const destroyed = table.destroy(ofSeven);
  const again = table.destroy(ofSeven);
  const first = await ends[0];
  results.push({
    host,
    clients: ours.map((flow) => Number(flow.client.value & 0xffn)).sort(),
    clientEnds,
    found: found.length === ours.length && ours.every((flow, i) => found[i] === flow),
    destroyed,
    again,
    first,
    secondAlive: !clients[1].destroyed,
    left: table.list().filter((flow) => flow.servicePort === port).length,
  });
  for (const each of [...clients, ...accepted]) each.destroy();
  server.close();
}
process.stdout.write(JSON.stringify(results));
