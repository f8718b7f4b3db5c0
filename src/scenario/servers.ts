import { accessSync, constants } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { asOrdinaryUser } from '../lab/index.ts';
import { streamPort } from '../lab/stream.ts';
import { udpEchoPort } from '../lab/udp-echo.ts';
import type { Workload } from './workload-schema.ts';

const nginxPath = '/usr/sbin/nginx';

/** What serves a workload in each replica. */
export interface Server {
  readonly description: string;
  /** The service's port. */
  readonly port: string;
  /** For `sh -c`; MANYCAST_NODE names the replica, MANYCAST_DIRECTORY is a directory of its own. */
  readonly command: string;
  /** The agents look whether it answers. */
  readonly checked: boolean;
}

/** One server for each kind of workload. */
export function serversFor(workloads: readonly Workload[]): Server[] {
  const kinds = new Set(workloads.map(({ kind }) => kind));
  const servers: Server[] = [];
  const commands = workloads.filter((each) => each.kind === 'command');
  // A command that brings no server of its own asks the one that everybody knows.
  const wantsHttp = kinds.has('http') || kinds.has('probe') || commands.some(({ serve }) => !serve);
  if (wantsHttp) servers.push(hasNginx() ? nginx : nodeHttp);
  if (kinds.has('tcp-echo') || kinds.has('ping')) servers.push(echo);
  if (kinds.has('udp-echo')) servers.push(udpEcho);
  if (kinds.has('stream')) servers.push(stream);
  servers.push(...commands.flatMap(({ serve }) => (serve ? [broughtServer(serve)] : [])));
  return servers;
}

/** What is to be done before anything is served, for `sh -c`. */
export function preparationsOf(workloads: readonly Workload[]): string[] {
  return workloads.flatMap((each) => (each.kind === 'command' && each.prepare !== undefined ? [each.prepare] : []));
}

type Brought = NonNullable<Extract<Workload, { kind: 'command' }>['serve']>;

function broughtServer({ port, run, unprivileged, checked }: Brought): Server {
  return {
    description: `what a command brings for ${port}`,
    port,
    command: unprivileged ? asOrdinaryUser(run) : run,
    checked,
  };
}

const nginx: Server = {
  description: 'nginx',
  port: '80/tcp',
  checked: true,
  command: `cd "$MANYCAST_DIRECTORY" && cat > nginx.conf <<END && exec ${nginxPath} -p "$MANYCAST_DIRECTORY" -c nginx.conf
user root root;
daemon off;
master_process off;
pid nginx.pid;
error_log nginx.log warn;
events { }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {
    listen 80;
    location / { add_header X-Replica $MANYCAST_NODE; return 200 "$MANYCAST_NODE\\n"; }
  }
}
END`,
};

const nodeHttp: Server = {
  description: 'a Node HTTP server',
  port: '80/tcp',
  checked: true,
  command: nodeProgram('http-server-main.js'),
};

const echo: Server = {
  description: 'a line echo server',
  port: '7/tcp',
  checked: true,
  command: nodeProgram('tcp-echo-server-main.js'),
};

const udpEcho: Server = {
  description: 'a datagram echo server',
  port: `${udpEchoPort}/udp`,
  checked: true,
  command: nodeProgram('udp-echo-server-main.js'),
};

const stream: Server = {
  description: 'a stream server',
  port: `${streamPort}/tcp`,
  checked: true,
  command: nodeProgram('stream-server-main.js'),
};

function nodeProgram(file: string): string {
  return `exec '${process.execPath}' '${fileURLToPath(new URL(`../lab/${file}`, import.meta.url))}'`;
}

function hasNginx(): boolean {
  try {
    accessSync(nginxPath, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
