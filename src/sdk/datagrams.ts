import type { RemoteInfo, Socket } from 'node:dgram';
import { parseIp } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import { socketPredicate } from '../dataplane/socket-filter.ts';
import { seenMax } from '../dataplane/staying.ts';
import { type AgentLink, type AgentSession, openAgentLink } from './agent-link.ts';
import { descriptorOfDatagramSocket } from './datagram-descriptor.ts';
import { type AgentMessage, clientsMax, type DatagramClient, datagramVersion } from './message.ts';

type AgentsWord<T extends AgentMessage['type']> = Extract<AgentMessage, { type: T }>;
type Takes = (client: DatagramClient['client'], clientPort: number) => boolean;

/** A socket as it is now, by what the agent said last. Without any word it takes nothing. */
interface Shared {
  readonly socket: Socket;
  takes: Takes;
  /** By CLOCK_BOOTTIME in milliseconds. */
  until: number;
  idleMs: number;
  /** By client, when a datagram was taken last; in that order. */
  readonly seen: Map<string, DatagramClient & { readonly at: number }>;
  taken: number;
}

/** The sockets of this process that take their share of a service's datagrams, as its agent says. */
export class Datagrams {
  readonly #link: AgentLink;
  /** By port, those that are bound. */
  readonly #sockets = new Map<number, Shared>();
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
      onMessage: (session, message) => this.#hear(session, message),
      // What is leased is taken until then; another agent tells the rest.
      onEnd: () => {
        this.#session = null;
      },
    });
  }

  /** From now on the socket hands its application only datagrams of its share, and answers only while that is leased. */
  add(socket: Socket): void {
    const shared: Shared = { socket, takes: () => false, until: 0, idleMs: 0, seen: new Map(), taken: 0 };
    this.#gate(shared);
    let port = 0;
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

  #gate(shared: Shared): void {
    const { socket } = shared;
    const emit = socket.emit.bind(socket) as (event: string | symbol, ...values: unknown[]) => boolean;
    Object.defineProperty(socket, 'emit', {
      configurable: true,
      writable: true,
      value: (event: string | symbol, ...values: unknown[]): boolean =>
        (event !== 'message' || this.#takes(shared, values[1] as RemoteInfo)) && emit(event, ...values),
    });
    const send = socket.send.bind(socket) as (...values: unknown[]) => void;
    Object.defineProperty(socket, 'send', {
      configurable: true,
      writable: true,
      value: (...values: unknown[]): void => {
        const callback = values.at(-1);
        if (this.#isLeased(shared)) send(...values);
        // As one that the network lost.
        else if (typeof callback === 'function') process.nextTick(() => callback(null, 0));
      },
    });
  }

  /** The clock is read after the datagram was: who was stopped in between does not take what may be another's by now. */
  #takes(shared: Shared, { address, port: clientPort }: RemoteInfo): boolean {
    const parsed = parseIp(address);
    if (!this.#isLeased(shared) || !parsed.ok || !shared.takes(parsed.value, clientPort)) return false;
    shared.taken++;
    if (shared.idleMs === 0) return true;
    const key = `${address}:${clientPort}`;
    const isKnown = shared.seen.delete(key);
    if (isKnown || shared.seen.size < seenMax)
      shared.seen.set(key, { client: parsed.value, clientPort, at: this.#now() });
    return true;
  }

  #isLeased({ until }: Shared): boolean {
    return this.#now() < until;
  }

  #hear(session: AgentSession, message: AgentMessage): void {
    if (message.type === 'joined') {
      this.#session = session;
      for (const [port, shared] of this.#sockets) void this.#pass(session, port, shared);
      return;
    }
    if (!('port' in message)) return;
    const shared = this.#sockets.get(message.port);
    if (!shared) return;
    if (message.type === 'share') {
      heed(shared, message);
      session.say({ type: 'shared', id: message.id });
    } else if (message.type === 'lease') shared.until = message.until;
    else if (message.type === 'look') this.#tellSeen(session, shared, message);
    else if (message.type === 'count') session.say({ type: 'counted', id: message.id, taken: shared.taken });
    else if (message.type === 'denied')
      process.emitWarning(
        `the socket on port ${message.port} takes no datagrams: ${message.reason}`,
        'ManycastWarning',
      );
  }

  async #pass(session: AgentSession, port: number, shared: Shared): Promise<void> {
    shared.takes = () => false;
    shared.until = 0;
    try {
      const descriptor = await session.descriptors.pass(descriptorOfDatagramSocket(shared.socket));
      if (this.#sockets.get(port) === shared) session.say({ type: 'receives', port, descriptor });
    } catch (error) {
      process.emitWarning(`the agent did not take port ${port}: ${messageOf(error)}`, 'ManycastWarning');
      session.leave();
    }
  }

  #tellSeen(session: AgentSession, { seen, idleMs }: Shared, { id }: AgentsWord<'look'>): void {
    const from = this.#now() - idleMs;
    for (const [key, { at }] of seen) {
      if (at > from) break;
      seen.delete(key);
    }
    const clients = [...seen.values()];
    for (let i = 0; i === 0 || i < clients.length; i += clientsMax) {
      const isLast = i + clientsMax >= clients.length;
      session.say({ type: 'seen', id, clients: clients.slice(i, i + clientsMax), isLast });
    }
  }
}

function heed(shared: Shared, { by, filters, kept, foreign, idleMs, port: servicePort }: AgentsWord<'share'>): void {
  const flows = (clients: readonly DatagramClient[]) => clients.map((each) => ({ ...each, servicePort }));
  shared.takes =
    by === 'application' ? socketPredicate({ filters, kept: flows(kept), foreign: flows(foreign) }) : () => true;
  if (by === 'everybody') shared.until = Number.POSITIVE_INFINITY;
  shared.idleMs = idleMs;
}
