import type { Socket } from 'node:dgram';
import { messageOf } from '../base/operating-error.ts';
import { type AgentLink, type AgentSession, openAgentLink } from './agent-link.ts';
import { descriptorOfDatagramSocket } from './datagram-descriptor.ts';
import type { DatagramSessions, SessionHooks } from './datagram-sessions.ts';
import { type AgentMessage, clientsMax, datagramVersion } from './message.ts';
import { SharedSocket } from './shared-socket.ts';

type OfPort = Extract<AgentMessage, { port: number }>;

/** The sockets of this process that take their share of a service's datagrams, as its agent says. */
export class Datagrams {
  readonly #link: AgentLink;
  /** By port, those that are bound. */
  readonly #sockets = new Map<number, SharedSocket>();
  #session: AgentSession | null = null;
  #now = (): number => Number.POSITIVE_INFINITY;

  /** `path` is the Unix socket that the agent has for applications. */
  constructor(path: string) {
    this.#link = openAgentLink({
      path,
      hello: () => (this.#sockets.size > 0 ? { type: 'datagrams', version: datagramVersion } : null),
      onBegin: ({ kernel }) => {
        this.#now = kernel.bootNow;
      },
      onMessage: (session, message) => {
        if (message.type === 'joined') this.#begin(session);
        else if ('port' in message) this.#hear(session, message);
      },
      onEnd: () => {
        this.#session = null;
        for (const { sessions } of this.#sockets.values()) sessions?.abandon();
      },
    });
  }

  /** From now on the socket hands its application only datagrams of its share, and answers only while that is leased. */
  add(socket: Socket, hooks: SessionHooks | null = null): void {
    let port = 0;
    const shared = new SharedSocket(socket, hooks, {
      now: () => this.#now(),
      pass: (client, datagram) => this.#session?.sayIfClear({ type: 'passed', port, client, datagram }),
    });
    socket.once('listening', () => {
      port = socket.address().port;
      this.#sockets.set(port, shared);
      if (this.#session) void this.#pass(this.#session, port, shared);
      else this.#link.announce(null);
    });
    socket.once('close', () => {
      if (this.#sockets.get(port) !== shared) return;
      this.#sockets.delete(port);
      this.#link.announce({ type: 'ceases', port });
    });
  }

  #begin(session: AgentSession): void {
    this.#session = session;
    for (const [port, shared] of this.#sockets) void this.#pass(session, port, shared);
  }

  async #pass(session: AgentSession, port: number, shared: SharedSocket): Promise<void> {
    shared.shut();
    try {
      const descriptor = await session.descriptors.pass(descriptorOfDatagramSocket(shared.socket));
      if (this.#sockets.get(port) !== shared) return;
      session.say({ type: 'receives', port, descriptor, hasSessions: shared.sessions !== null });
    } catch (error) {
      warn(`the agent did not take port ${port}: ${messageOf(error)}`);
      session.leave();
    }
  }

  #hear(session: AgentSession, message: OfPort): void {
    const shared = this.#sockets.get(message.port);
    if (!shared) return;
    switch (message.type) {
      case 'share':
        shared.heed(message);
        session.say({ type: 'shared', id: message.id });
        break;
      case 'lease':
        shared.lease(message.until);
        break;
      case 'look':
        tellSeen(session, shared, message.id);
        break;
      case 'count':
        session.say({ type: 'counted', id: message.id, taken: shared.taken });
        break;
      case 'denied':
        warn(`the socket on port ${message.port} takes no datagrams: ${message.reason}`);
        break;
      case 'gone':
        shared.gone(message.clients);
        break;
      case 'pass':
        shared.receivePassed(message.client, message.datagram);
        break;
      default:
        hearOfSessions(session, shared.sessions, message);
    }
  }
}

type OfSessions = Exclude<OfPort, { type: 'share' | 'lease' | 'look' | 'count' | 'denied' | 'gone' | 'pass' }>;

function hearOfSessions(session: AgentSession, sessions: DatagramSessions | null, message: OfSessions): void {
  if (message.type === 'export') {
    session.say({ type: 'exported', id: message.id, sessions: sessions?.export(message.clients) ?? [] });
  } else if (message.type === 'import') {
    if (sessions?.import(message.sessions)) session.say({ type: 'imported', id: message.id });
  } else sessions?.[message.type](message.clients);
}

function warn(line: string): void {
  process.emitWarning(line, 'ManycastWarning');
}

function tellSeen(session: AgentSession, shared: SharedSocket, id: number): void {
  const clients = shared.seen();
  for (let i = 0; i === 0 || i < clients.length; i += clientsMax) {
    const isLast = i + clientsMax >= clients.length;
    session.say({ type: 'seen', id, clients: clients.slice(i, i + clientsMax), isLast });
  }
}
