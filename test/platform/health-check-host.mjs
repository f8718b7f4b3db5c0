// Runs inside a network namespace of its own where outgoing connections get the very port they go to: TCP connects with itself.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { checkHealth } from '../../dist/platform/health-check.js';

execFileSync('ip', ['link', 'set', 'lo', 'up']);

/** Each port serves once, because the connection stays in TIME-WAIT. */
function targetAt(port) {
  writeFileSync('/proc/sys/net/ipv4/ip_local_port_range', `${port} ${port}`);
  return { address: '127.0.0.1', port, timeoutMs: 10_000 };
}

const { address, port } = targetAt(40_000);
const socket = connect({ host: address, port });
await once(socket, 'connect');
const itself = socket.localPort === port;
socket.destroy();
const tcp = await checkHealth({ kind: 'tcp', ...targetAt(40_001) });
const http = await checkHealth({ kind: 'http', ...targetAt(40_002), path: '/', host: 'x', expect: [200, 399] });
process.stdout.write(JSON.stringify({ itself, tcp, http }));
