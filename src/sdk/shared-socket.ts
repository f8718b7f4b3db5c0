import type { RemoteInfo, Socket } from 'node:dgram';
import { socketPredicate } from '../dataplane/socket-filter.ts';
import { seenMax } from '../dataplane/staying.ts';
import { clientOf, DatagramSessions, remoteInfoOf, type SessionHooks } from './datagram-sessions.ts';
import type { AgentMessage, DatagramClient } from './message.ts';

/** What the agent says of a socket's share. */
export type ShareMessage = Extract<AgentMessage, { type: 'share' }>;

export interface SharedSocketPorts {
  /** CLOCK_BOOTTIME in milliseconds; infinite while it is not known. */
  now(): number;
  /** Hands a datagram to the host that has its session now. */
  pass(client: DatagramClient, datagram: Uint8Array): void;
}

/**
 * A socket that hands its application only datagrams of its share, and sends only while that is leased. It takes nothing before an agent has
 * said what; what the agent said last is heeded until the lease is over.
 */
export class SharedSocket {
  readonly socket: Socket;
  /** Null where the application has none that could move. */
  readonly sessions: DatagramSessions | null;
  readonly #ports: SharedSocketPorts;
  readonly #deliver: (message: Buffer, from: RemoteInfo) => void;
  #takes: (client: DatagramClient['client'], clientPort: number) => boolean = () => false;
  #until = 0;
  #idleMs = 0;
  /** When a datagram was taken last; in that order. */
  readonly #seen = new Map<string, DatagramClient & { readonly at: number }>();
  #taken = 0;

  constructor(socket: Socket, hooks: SessionHooks | null, ports: SharedSocketPorts) {
    this.socket = socket;
    this.#ports = ports;
    this.#deliver = this.#gate();
    this.sessions = hooks && new DatagramSessions(hooks, { deliver: this.#deliver, pass: ports.pass });
  }

  /** Datagrams that were taken. */
  get taken(): number {
    return this.#taken;
  }

  /** Until the agent says something else it takes nothing. */
  shut(): void {
    this.#takes = () => false;
    this.#until = 0;
  }

  lease(until: number): void {
    this.#until = until;
  }

  heed({ by, filters, kept, foreign, idleMs, port: servicePort }: ShareMessage): void {
    const flows = (clients: readonly DatagramClient[]) => clients.map((each) => ({ ...each, servicePort }));
    const isApplications = by === 'application';
    const takes = isApplications ? socketPredicate({ filters, kept: flows(kept), foreign: flows(foreign) }) : null;
    this.#takes = takes ?? (() => true);
    if (by === 'everybody') this.#until = Number.POSITIVE_INFINITY;
    this.#idleMs = idleMs;
    this.sessions?.follow(kept);
  }

  /** Clients of which a datagram was taken of late. */
  seen(): DatagramClient[] {
    const from = this.#ports.now() - this.#idleMs;
    for (const [key, { at }] of this.#seen) {
      if (at > from) break;
      this.#seen.delete(key);
    }
    return [...this.#seen.values()];
  }

  /** Their sessions go on elsewhere: what comes of them still is passed on, and keeps nothing here. */
  gone(clients: readonly DatagramClient[]): void {
    for (const client of clients) this.#seen.delete(keyOf(client));
    this.sessions?.gone(clients);
  }

  /** A datagram of a session that came, which the host that had it took still. */
  receivePassed(client: DatagramClient, datagram: Uint8Array): void {
    const message = Buffer.from(datagram);
    if (this.#isLeased()) this.#deliver(message, remoteInfoOf(client, message.length));
  }

  #isLeased(): boolean {
    return this.#ports.now() < this.#until;
  }

  /** Returns what hands the application a datagram. */
  #gate(): (message: Buffer, from: RemoteInfo) => void {
    const { socket } = this;
    const emit = socket.emit.bind(socket) as (event: string | symbol, ...values: unknown[]) => boolean;
    const deliver = (message: Buffer, from: RemoteInfo): void => {
      if (!this.sessions?.withholds(message, from)) emit('message', message, from);
    };
    replace(socket, 'emit', (event: string | symbol, ...values: unknown[]): boolean => {
      if (event !== 'message') return emit(event, ...values);
      const [message, from] = values as [Buffer, RemoteInfo];
      const isTaken = this.#isTaken(from);
      if (isTaken) deliver(message, from);
      return isTaken;
    });
    const send = socket.send.bind(socket) as (...values: unknown[]) => void;
    replace(socket, 'send', (...values: unknown[]): void => {
      const callback = values.at(-1);
      if (this.#isLeased()) send(...values);
      // As one that the network lost.
      else if (typeof callback === 'function') process.nextTick(() => callback(null, 0));
    });
    return deliver;
  }

  /** The clock is read after the datagram was: who was stopped in between does not take what may be another's by now. */
  #isTaken(from: RemoteInfo): boolean {
    const client = this.#isLeased() ? clientOf(from) : null;
    if (!client || !this.#takes(client.client, client.clientPort)) return false;
    this.#taken++;
    if (this.#idleMs > 0 && !this.sessions?.hasGone(client)) this.#see(client);
    return true;
  }

  #see(client: DatagramClient): void {
    const key = keyOf(client);
    const isKnown = this.#seen.delete(key);
    if (isKnown || this.#seen.size < seenMax) this.#seen.set(key, { ...client, at: this.#ports.now() });
  }
}

function keyOf({ client, clientPort }: DatagramClient): string {
  return `${client.value}:${clientPort}`;
}

function replace(socket: Socket, name: 'emit' | 'send', value: unknown): void {
  Object.defineProperty(socket, name, { configurable: true, writable: true, value });
}
