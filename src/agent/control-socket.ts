import { mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { messageOf, OperatingError } from '../base/operating-error.ts';

/** The largest request body: a policy file. */
const bodyBytesMax = 64 * 1024;
/** An answer that waits longer than this for its reader is given up. */
const backlogBytesMax = 4 * 1024 * 1024;

/** One request: `say` answers one line of JSON at a time; resolving ends the answer. Throws an OperatingError to refuse. */
export type Route = (body: string, say: (line: unknown) => void, closed: AbortSignal) => Promise<void>;

/** Local administration over a Unix socket that only the agent's user may open: HTTP, JSON lines. */
export async function openControlSocket(
  path: string,
  routes: ReadonlyMap<string, Route>,
): Promise<{ close(): Promise<void> }> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  if (await answers(path)) {
    throw new OperatingError('socket', `socket: another agent answers on ${path}`, { remedy: 'stop it first' });
  }
  rmSync(path, { force: true });
  const server = createServer((request, response) => void serve(request, response, routes));
  await listening(server, path);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  routes: ReadonlyMap<string, Route>,
): Promise<void> {
  const closed = new AbortController();
  response.once('close', () => closed.abort());
  const say = (line: unknown): void => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.write(`${JSON.stringify(line)}\n`);
    // Somebody who asks for events and does not read them.
    if (response.writableLength > backlogBytesMax) response.destroy();
  };
  try {
    const route = routes.get(`${request.method} ${request.url}`);
    if (!route) throw new OperatingError('not-found', `no ${request.method} ${request.url} here`);
    await route(await bodyOf(request), say, closed.signal);
  } catch (error) {
    const code = error instanceof OperatingError ? error.code : 'internal';
    if (!response.headersSent) response.writeHead(code === 'not-found' ? 404 : 400);
    response.write(`${JSON.stringify({ error: messageOf(error), code })}\n`);
  }
  response.end();
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) throw new OperatingError('too-large', `more than ${bodyBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The mask, and not a later chmod: there is no instant at which others may connect. */
async function listening(server: Server, path: string): Promise<void> {
  const before = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
  } catch (cause) {
    throw new OperatingError('socket', `socket: cannot listen on ${path}: ${messageOf(cause)}`, { cause });
  } finally {
    process.umask(before);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
