import { get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { getSystemErrorMap } from 'node:util';
import { oneLine } from '../base/one-line.ts';
import { messageOf } from '../base/operating-error.ts';

/** One question to the local server. */
export type HealthCheck = TcpCheck | HttpCheck;

interface Target {
  /** IPv4 address that answers, with `port`. */
  readonly address: string;
  readonly port: number;
  /** From the beginning of the connection to the end of the answer. */
  readonly timeoutMs: number;
}

/** Good is a connection that is accepted. */
interface TcpCheck extends Target {
  readonly kind: 'tcp';
}

/** Good is an answer to GET that is whole, as far as it is read. */
interface HttpCheck extends Target {
  readonly kind: 'http';
  readonly path: string;
  /** Header `Host`. */
  readonly host: string;
  /** Lowest and highest status that is good. */
  readonly expect: readonly [number, number];
}

/** More of an answer is not read: its status decides. */
const answerBytesMax = 64 * 1024;

/** What ends a check, once: null for a good answer, otherwise one line why not. */
type End = (problem: string | null) => void;

/** Asks once. Null for a good answer, otherwise one line why not; never rejects, and leaves no socket open. Aborting is a failure too. */
export function checkHealth(check: HealthCheck, signal?: AbortSignal): Promise<string | null> {
  return new Promise((resolve) => {
    let close = (): void => {};
    const end: End = (problem) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      close();
      resolve(problem);
    };
    const onAbort = (): void => end('stopped');
    const timer = setTimeout(() => end(`no answer within ${check.timeoutMs} ms`), check.timeoutMs);
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) return onAbort();
    try {
      close = check.kind === 'tcp' ? askTcp(check, end) : askHttp(check, end);
    } catch (error) {
      end(complaint(error));
    }
  });
}

/** Returns what closes the connection. */
function askTcp({ address, port }: TcpCheck, end: End): () => void {
  const socket = connect({ host: address, port });
  socket.on('connect', () => end(connectedToItself(socket) ? 'nobody listens' : null));
  socket.on('error', (error) => end(complaint(error)));
  return () => socket.destroy();
}

function askHttp({ address, port, path, host, expect: [lowest, highest] }: HttpCheck, end: End): () => void {
  let bytes = 0;
  let judgement: string | null = `no status within ${answerBytesMax} bytes`;
  const headers = { host, 'user-agent': 'manycast', connection: 'close' };
  const request = get({ host: address, port, path, headers, agent: false });
  request.on('socket', (socket) => {
    // All that comes is counted here, also what the parser makes nothing of, such as interim answers without end.
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > answerBytesMax) end(judgement);
    });
  });
  request.on('response', (response) => {
    const status = response.statusCode ?? 0;
    judgement = status >= lowest && status <= highest ? null : `status ${status}, expected is ${lowest}-${highest}`;
    if (judgement !== null) end(judgement);
    response.on('end', () => end(judgement));
    response.on('error', () => end('the answer breaks off'));
    response.resume();
  });
  request.on('upgrade', (response) => end(`status ${response.statusCode}, not asked for`));
  request.on('error', (error) => end(complaint(error)));
  return () => request.destroy();
}

/**
 * When nobody listens on a port from which the kernel also takes the ports of outgoing connections, it may take that very port, and TCP
 * opens the connection with itself (RFC 9293, section 3.5, simultaneous open).
 */
function connectedToItself(socket: Socket): boolean {
  return socket.localPort === socket.remotePort && socket.localAddress === socket.remoteAddress;
}

/** `connect ECONNREFUSED 203.0.113.10:80` is `connection refused`: address and port are known to who asks. */
function complaint(error: unknown): string {
  const { errno } = error as NodeJS.ErrnoException;
  return oneLine((errno && getSystemErrorMap().get(errno)?.[1]) || messageOf(error), 120);
}
