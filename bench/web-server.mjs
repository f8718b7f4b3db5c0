// The server that every way has in its hosts: nginx, which answers with the name of its host, and closes no connection by itself.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Two workers, which share connections evenly: each may have few descriptors. */
const configuration = `daemon off; worker_processes 2; user root; error_log stderr crit;
events { worker_connections 16384; }
http {
  access_log off; keepalive_timeout 1h; keepalive_requests 100000000; client_header_timeout 1h;
  server { listen 80 reuseport backlog=4096; location / { return 200 "HOST"; } }
}
`;

/**
 * Files of its own in a directory of its own. `command(host)` starts the server of a host, for `sh -c`.
 */
export function webServer() {
  const directory = mkdtempSync(join(tmpdir(), 'bench-nginx-'));
  const pattern = join(directory, 'pattern');
  writeFileSync(pattern, configuration);
  return {
    directory,
    command(host = '$MANYCAST_NODE') {
      const file = `${directory}/${host}.nginx`;
      return `sed s/HOST/${host}/ ${pattern} > ${file} && exec nginx -c ${file} -g "pid ${file}.pid;"`;
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
