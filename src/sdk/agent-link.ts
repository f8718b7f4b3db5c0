import { connect, type Socket } from 'node:net';
import type { DescriptorChannel } from '../platform/descriptor-passing.ts';
import {
  type AgentMessage,
  type ApplicationMessage,
  datagramVersion,
  decodeAgentMessage,
  encodeApplicationMessage,
  lineReader,
  protocolVersion,
} from './message.ts';

type Platform = typeof import('../platform/descriptor-passing.ts') & typeof import('../platform/receive-window.ts');
type Kernel =
  | ('isEstablished' | 'isInRepair' | 'keepUnsentShort')
  | ('unreadBytes' | 'unacknowledgedBytes' | 'windowMax' | 'windowLeft' | 'silenceMs' | 'narrowWindow' | 'shutWindow');

/** How long until an agent that is not there is looked for again. */
const retryMs = 1000;
/** An agent that reads nothing of what it asked for is left. */
const backlogBytesMax = 16 * 1024 * 1024;
const clearBytesMax = 1024 * 1024;

/** One connection to an agent that has welcomed this application. */
export interface AgentSession {
  readonly descriptors: DescriptorChannel;
  /** What the kernel knows of a TCP socket, and is told of it. */
  readonly kernel: Pick<Platform, Kernel> & { readonly bootNow: () => number };
  say(message: ApplicationMessage): void;
  /** Unless much waits to be said already: then it is lost. */
  sayIfClear(message: ApplicationMessage): void;
  /** False once the agent is gone. */
  isOpen(): boolean;
  /** The agent broke the protocol; another connection is tried. */
  leave(): void;
}

export interface AgentLinkOptions {
  /** The agent's Unix socket for applications. */
  readonly path: string;
  /** What the agent is greeted with, as of now; null while there is nothing to connect for. */
  hello(): ApplicationMessage | null;
  onBegin(session: AgentSession): void;
  onMessage(session: AgentSession, message: AgentMessage): void;
  /** The agent of that session is gone. */
  onEnd(session: AgentSession): void;
}

export interface AgentLink {
  announce(news: ApplicationMessage | null): void;
}

/** Stays connected to the agent while there is one, and keeps no process alive. `announce` says what has changed, if it is more than that there is something to connect for, or connects at once. */
export function openAgentLink(options: AgentLinkOptions): AgentLink {
  let connection: AgentLink | null = null;
  let retry: NodeJS.Timeout | null = null;

  function tryNow(): void {
    if (retry) clearTimeout(retry);
    retry = null;
    if (options.hello() === null) return;
    connection = connectAgent(options, () => {
      connection = null;
      retry = setTimeout(tryNow, retryMs).unref();
    });
  }

  return {
    announce(news) {
      if (connection) connection.announce(news);
      else tryNow();
    },
  };
}

function connectAgent(options: AgentLinkOptions, onClosed: () => void): AgentLink {
  const socket = connect(options.path).unref();
  let session: AgentSession | null = null;

  const read = lineReader((line) => {
    const decoded = decodeAgentMessage(line);
    if (!decoded.ok || decoded.value.type === 'error') socket.destroy();
    else if (session) options.onMessage(session, decoded.value);
    else if (decoded.value.type === 'welcome' && isSpoken(decoded.value.version)) void join(decoded.value.token);
    else socket.destroy();
  });

  /** The agent asks for nothing before it has the second connection. */
  async function join(token: string): Promise<void> {
    try {
      session = await openSession(options.path, socket, token);
      options.onBegin(session);
    } catch {
      socket.destroy();
    }
  }

  socket.once('connect', () => {
    const hello = options.hello();
    if (hello) say(socket, hello);
    else socket.destroy();
  });
  socket.on('data', (chunk) => {
    if (!read(chunk)) socket.destroy();
  });
  // No agent, or one that went: the application serves on by itself.
  socket.on('error', () => {});
  socket.once('close', () => {
    session?.descriptors.close();
    if (session) options.onEnd(session);
    onClosed();
  });
  return {
    announce(news) {
      if (news && !socket.connecting) say(socket, news);
    },
  };
}

/** Only with an agent is libc called, so that an application without one runs wherever Node does. */
async function openSession(path: string, socket: Socket, token: string): Promise<AgentSession> {
  const [passing, window, clock] = await Promise.all([
    import('../platform/descriptor-passing.ts'),
    import('../platform/receive-window.ts'),
    import('../platform/boot-clock.ts'),
  ]);
  const kernel = { ...passing, ...window, bootNow: clock.bootClock.now };
  const greeting = encodeApplicationMessage({ type: 'descriptors', token });
  const descriptors = kernel.connectDescriptorChannel(path, new TextEncoder().encode(greeting));
  if (socket.destroyed) {
    descriptors.close();
    throw new Error('the agent is gone');
  }
  return {
    descriptors,
    kernel,
    say: (message) => say(socket, message),
    sayIfClear: (message) => (socket.writableLength < clearBytesMax ? say(socket, message) : undefined),
    isOpen: () => !socket.destroyed,
    leave: () => void socket.destroy(),
  };
}

function isSpoken(version: number): boolean {
  return version === protocolVersion || version === datagramVersion;
}

function say(socket: Socket, message: ApplicationMessage): void {
  if (socket.destroyed) return;
  socket.write(encodeApplicationMessage(message));
  if (socket.writableLength > backlogBytesMax) socket.destroy();
}
