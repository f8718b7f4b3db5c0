import { connect, type Socket } from 'node:net';
import type { DescriptorChannel } from '../platform/descriptor-passing.ts';
import {
  type AgentMessage,
  type ApplicationMessage,
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

/** One connection to an agent that has welcomed this application. */
export interface AgentSession {
  readonly descriptors: DescriptorChannel;
  /** What the kernel knows of a TCP socket, and is told of it. */
  readonly kernel: Pick<Platform, Kernel>;
  say(message: ApplicationMessage): void;
  /** False once the agent is gone. */
  isOpen(): boolean;
  /** The agent broke the protocol; another connection is tried. */
  leave(): void;
}

export interface AgentLinkOptions {
  /** The agent's Unix socket for applications. */
  readonly path: string;
  /** Ports served here, as of now. */
  ports(): readonly number[];
  onBegin(session: AgentSession): void;
  onMessage(session: AgentSession, message: AgentMessage): void;
  /** The agent of that session is gone. */
  onEnd(session: AgentSession): void;
}

/** Stays connected to the agent while there is one, and keeps no process alive. `announce` tells of changed ports, and connects at once. */
export function openAgentLink(options: AgentLinkOptions): { announce(): void } {
  let connection: Connection | null = null;
  let retry: NodeJS.Timeout | null = null;

  function tryNow(): void {
    if (retry) clearTimeout(retry);
    retry = null;
    if (options.ports().length === 0) return;
    connection = connectAgent(options, () => {
      connection = null;
      retry = setTimeout(tryNow, retryMs).unref();
    });
  }

  return {
    announce() {
      if (connection) connection.announce();
      else tryNow();
    },
  };
}

interface Connection {
  announce(): void;
}

function connectAgent(options: AgentLinkOptions, onClosed: () => void): Connection {
  const socket = connect(options.path).unref();
  let session: AgentSession | null = null;

  const read = lineReader((line) => {
    const decoded = decodeAgentMessage(line);
    if (!decoded.ok || decoded.value.type === 'error') socket.destroy();
    else if (session) options.onMessage(session, decoded.value);
    else if (decoded.value.type === 'welcome' && decoded.value.version === protocolVersion)
      void join(decoded.value.token);
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

  socket.once('connect', () => say(socket, { type: 'hello', version: protocolVersion, ports: options.ports() }));
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
    announce() {
      if (!socket.connecting) say(socket, { type: 'ports', ports: options.ports() });
    },
  };
}

/** Only with an agent is libc called, so that an application without one runs wherever Node does. */
async function openSession(path: string, socket: Socket, token: string): Promise<AgentSession> {
  const [passing, window] = await Promise.all([
    import('../platform/descriptor-passing.ts'),
    import('../platform/receive-window.ts'),
  ]);
  const kernel = { ...passing, ...window };
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
    isOpen: () => !socket.destroyed,
    leave: () => void socket.destroy(),
  };
}

function say(socket: Socket, message: ApplicationMessage): void {
  if (socket.destroyed) return;
  socket.write(encodeApplicationMessage(message));
  if (socket.writableLength > backlogBytesMax) socket.destroy();
}
