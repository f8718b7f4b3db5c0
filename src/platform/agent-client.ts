import { type IncomingMessage, request } from 'node:http';
import { OperatingError } from '../base/operating-error.ts';

/** Who listens on the socket, and the command that starts it. */
type Daemon = 'agent' | 'router';

/**
 * Asks the agent, or the router, that listens on a Unix socket; each line of its answer as it comes. Whoever stops reading closes the connection.
 * Throws an OperatingError when it refuses, or ends before its answer does.
 */
export async function* askAgent(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body = '',
  signal?: AbortSignal,
  daemon: Daemon = 'agent',
): AsyncGenerator<Readonly<Record<string, unknown>>> {
  const response = await responseTo(socketPath, method, path, body, signal, daemon);
  for await (const text of linesOf(response, socketPath, daemon)) {
    const line = JSON.parse(text) as Record<string, unknown>;
    if (typeof line.error === 'string') throw new OperatingError(String(line.code), line.error);
    yield line;
  }
}

/** The only line of an answer that has one. */
export async function askAgentOnce<T>(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body = '',
  daemon: Daemon = 'agent',
): Promise<T> {
  for await (const line of askAgent(socketPath, method, path, body, undefined, daemon)) return line as T;
  throw new OperatingError(daemon, `the ${daemon} closed the connection without an answer`);
}

/** Not through readline, which leaves the answer open when its reader stops early. */
async function* linesOf(response: IncomingMessage, socketPath: string, daemon: Daemon): AsyncGenerator<string> {
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  } catch (cause) {
    throw new OperatingError(daemon, `the ${daemon} on ${socketPath} ended before its answer did`, { cause });
  }
}

function responseTo(
  socketPath: string,
  method: string,
  path: string,
  body: string,
  signal: AbortSignal | undefined,
  daemon: Daemon,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, method, path, agent: false, ...(signal ? { signal } : {}) }, resolve);
    asking.once('error', (cause: NodeJS.ErrnoException) => {
      const denied = cause.code === 'EACCES';
      const message = denied ? `${socketPath} may not be opened by this user` : `no ${daemon} answers on ${socketPath}`;
      const remedy = denied
        ? `run it as the user of the ${daemon}`
        : `start one (manycast ${daemon} -c FILE) or name its socket with --socket`;
      reject(new OperatingError(daemon, message, { remedy, cause }));
    });
    asking.end(body);
  });
}
