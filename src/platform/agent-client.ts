import { type IncomingMessage, request } from 'node:http';
import { OperatingError } from '../base/operating-error.ts';

/**
 * Asks the agent that listens on a Unix socket; each line of its answer as it comes. Whoever stops reading closes the connection.
 * Throws an OperatingError when the agent refuses, or ends before its answer does.
 */
export async function* askAgent(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body = '',
  signal?: AbortSignal,
): AsyncGenerator<Readonly<Record<string, unknown>>> {
  const response = await responseTo(socketPath, method, path, body, signal);
  for await (const text of linesOf(response, socketPath)) {
    const line = JSON.parse(text) as Record<string, unknown>;
    if (typeof line.error === 'string') throw new OperatingError(String(line.code), line.error);
    yield line;
  }
}

/** The only line of an answer that has one. */
export async function askAgentOnce<T>(socketPath: string, method: 'GET' | 'POST', path: string, body = ''): Promise<T> {
  for await (const line of askAgent(socketPath, method, path, body)) return line as T;
  throw new OperatingError('agent', 'the agent closed the connection without an answer');
}

/** Not through readline, which leaves the answer open when its reader stops early. */
async function* linesOf(response: IncomingMessage, socketPath: string): AsyncGenerator<string> {
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  } catch (cause) {
    throw new OperatingError('agent', `the agent on ${socketPath} ended before its answer did`, { cause });
  }
}

function responseTo(
  socketPath: string,
  method: string,
  path: string,
  body: string,
  signal: AbortSignal | undefined,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, method, path, agent: false, ...(signal ? { signal } : {}) }, resolve);
    asking.once('error', (cause: NodeJS.ErrnoException) => {
      const denied = cause.code === 'EACCES';
      const message = denied ? `${socketPath} may not be opened by this user` : `no agent answers on ${socketPath}`;
      const remedy = denied
        ? 'run it as the user of the agent'
        : 'start one (manycast agent -c FILE) or name its socket with --socket';
      reject(new OperatingError('agent', message, { remedy, cause }));
    });
    asking.end(body);
  });
}
