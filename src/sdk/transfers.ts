import { closeSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { ipAddress, parseIp } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';
import { type AgentLink, type AgentSession, openAgentLink } from './agent-link.ts';
import { type Arriving, adopt } from './arriving.ts';
import { calm, endCalm, isBusy } from './calm.ts';
import { descriptorOf, listenerOf } from './held-socket.ts';
import { closingOf, freeze, type Leaving } from './leaving.ts';
import { type AgentMessage, protocolVersion } from './message.ts';
import type { Refused, TransferableServer } from './transferable-server.ts';

/** A connection stands still no longer than this: the agent has forgotten it. */
const standstillMs = 30_000;

interface Connection {
  readonly server: TransferableServer;
  readonly socket: Socket;
  leaving: Leaving | 'freezing' | null;
}

type AgentsWord<T extends AgentMessage['type']> = Extract<AgentMessage, { type: T }>;

/** The connections of this process that can move, and those that are moving. */
export class Transfers {
  readonly #link: AgentLink;
  /** By port. */
  readonly #servers = new Map<number, TransferableServer>();
  /** These and those below by flow. */
  readonly #connections = new Map<string, Connection>();
  readonly #arriving = new Map<string, Arriving>();
  /** One for each connection that stands still. */
  readonly #deadlines = new Map<string, NodeJS.Timeout>();

  /** `path` is the Unix socket that the agent has for applications. */
  constructor(path: string) {
    this.#link = openAgentLink({
      path,
      hello: () => (this.#servers.size > 0 ? { type: 'hello', version: protocolVersion, ports: this.#ports() } : null),
      onBegin: ({ kernel }) => {
        for (const { server } of this.#servers.values()) kernel.keepUnsentShort(listenerOf(server));
      },
      onMessage: (session, message) => this.#hear(session, message),
      onEnd: (session) => {
        for (const key of [...this.#deadlines.keys()]) this.#giveUp(session, key);
      },
    });
  }

  /** The connections of a server can move while it listens. */
  add(server: TransferableServer): void {
    let port = 0;
    const listening = (): void => {
      port = portOf(server.server.address());
      if (port === 0) return;
      this.#servers.set(port, server);
      this.#link.announce({ type: 'ports', ports: this.#ports() });
    };
    server.server.on('listening', listening);
    server.server.on('close', () => {
      if (this.#servers.get(port) === server) this.#servers.delete(port);
      this.#link.announce({ type: 'ports', ports: this.#ports() });
    });
    server.server.prependListener('connection', (socket: Socket) => this.#track(server, socket));
    if (server.server.listening) listening();
  }

  #ports(): readonly number[] {
    return [...this.#servers.keys()];
  }

  #hear(session: AgentSession, message: AgentMessage): void {
    switch (message.type) {
      case 'freeze':
        for (const flow of message.flows) void this.#freezeOne(session, message.id, flow);
        break;
      case 'calm':
        void this.#calm(session, message);
        break;
      case 'adopt':
        this.#adoptOne(session, message);
        break;
      case 'moved':
      case 'thaw':
        this.#settleLeaving(flowKey(message.flow), message.type);
        break;
      case 'go':
      case 'drop':
        this.#settleArriving(session, flowKey(message.flow), message.type);
        break;
      case 'finish':
        for (const flow of message.flows) {
          const connection = this.#connections.get(flowKey(flow));
          if (connection) connection.server.finish(connection.socket);
        }
        break;
    }
  }

  async #calm(session: AgentSession, { id, flows }: AgentsWord<'calm'>): Promise<void> {
    const sockets: Socket[] = [];
    const alone: TcpFlow[] = [];
    for (const flow of flows) {
      const connection = this.#connections.get(flowKey(flow));
      if (!connection || connection.leaving || connection.server.refusalOf(connection.socket)) continue;
      // It stays, and what is on its way has an end.
      if (closingOf(connection.socket, session.kernel)) continue;
      if (flows.length > 1 && isBusy(connection.socket, session.kernel)) alone.push(flow);
      else sockets.push(connection.socket);
    }
    await calm(sockets, session.kernel);
    session.say({ type: 'calmed', id, alone });
  }

  async #freezeOne(session: AgentSession, id: number, flow: TcpFlow): Promise<void> {
    const refuse = ({ code, reason }: Refused): void => session.say({ type: 'refused', id, flow, code, reason });
    const key = flowKey(flow);
    const connection = this.#connections.get(key);
    if (!connection) return refuse({ code: 'unknown', reason: 'no such connection here' });
    if (connection.leaving || this.#arriving.has(key)) return refuse({ code: 'busy', reason: 'it is moving already' });
    connection.leaving = 'freezing';
    const outcome = await freeze(connection.server, connection.socket, session.kernel);
    connection.leaving = null;
    if ('code' in outcome) {
      endCalm(connection.socket);
      return refuse(outcome);
    }
    if (!session.isOpen()) {
      endCalm(connection.socket);
      return outcome.thaw();
    }
    connection.leaving = outcome;
    this.#deadline(session, key);
    try {
      const descriptor = await session.descriptors.pass(descriptorOf(connection.socket));
      session.say({ type: 'frozen', id, flow, state: outcome.state, unread: outcome.unread, descriptor });
    } catch (error) {
      this.#settleLeaving(key, 'thaw');
      refuse({ code: 'busy', reason: messageOf(error) });
    }
  }

  #adoptOne(session: AgentSession, { id, flow, state, unread, descriptor: number }: AgentsWord<'adopt'>): void {
    const key = flowKey(flow);
    const refuse = (refused: Refused): void => session.say({ type: 'refused', id, flow, ...refused });
    const descriptor = takenBy(session, number);
    if (descriptor === null) return;
    try {
      const server = this.#servers.get(flow.servicePort);
      if (!server || this.#connections.has(key)) {
        closeSync(descriptor);
        if (server) refuse({ code: 'busy', reason: 'such a connection is here already' });
        else refuse({ code: 'unknown', reason: 'nobody listens on that port' });
        return;
      }
      const arrived = adopt(server, descriptor, state, unread);
      this.#arriving.set(key, arrived);
      this.#track(server, arrived.socket, key);
      this.#deadline(session, key);
      session.say({ type: 'adopted', id, flow });
    } catch (error) {
      refuse({ code: 'application', reason: messageOf(error) });
    }
  }

  #settleLeaving(key: string, how: 'moved' | 'thaw'): void {
    const connection = this.#connections.get(key);
    const leaving = connection?.leaving;
    if (!leaving || leaving === 'freezing') return;
    connection.leaving = null;
    this.#settled(key);
    if (how === 'thaw') {
      endCalm(connection.socket);
      leaving.thaw();
    } else {
      // At once, and not when the socket has closed: it may come back before that.
      this.#connections.delete(key);
      leaving.forget();
    }
  }

  #settleArriving({ kernel }: AgentSession, key: string, how: 'go' | 'drop'): void {
    const arrived = this.#arriving.get(key);
    if (!arrived) return;
    this.#arriving.delete(key);
    this.#settled(key);
    if (how === 'go') kernel.keepUnsentShort(descriptorOf(arrived.socket));
    arrived[how]();
  }

  #deadline(session: AgentSession, key: string): void {
    this.#deadlines.set(key, setTimeout(() => this.#giveUp(session, key), standstillMs).unref());
  }

  #settled(key: string): void {
    clearTimeout(this.#deadlines.get(key));
    this.#deadlines.delete(key);
  }

  /** A socket in repair mode may live on elsewhere, and only an agent could end the mode: it goes without a word. */
  #giveUp(session: AgentSession, key: string): void {
    const connection = this.#connections.get(key);
    if (connection?.leaving)
      this.#settleLeaving(key, session.kernel.isInRepair(descriptorOf(connection.socket)) ? 'moved' : 'thaw');
    this.#settleArriving(session, key, 'drop');
    this.#settled(key);
  }

  /** Of an arriving connection the key is that of its flow, which names it also when its socket has no more. */
  #track(server: TransferableServer, socket: Socket, key = keyOf(socket)): void {
    if (key === null || this.#connections.get(key)?.socket === socket) return;
    const connection: Connection = { server, socket, leaving: null };
    this.#connections.set(key, connection);
    socket.once('close', () => {
      if (this.#connections.get(key) !== connection) return;
      this.#connections.delete(key);
      this.#arriving.delete(key);
      this.#settled(key);
    });
  }
}

/** Null when the agent named a descriptor that it did not pass. */
function takenBy({ descriptors, leave }: AgentSession, number: number): number | null {
  try {
    return descriptors.take(number);
  } catch {
    leave();
    return null;
  }
}

function portOf(address: AddressInfo | string | null): number {
  return typeof address === 'object' && address ? address.port : 0;
}

/** Null of a connection that is no TCP connection, or closed already. */
function keyOf(socket: Socket): string | null {
  const parsed = socket.remoteAddress ? parseIp(socket.remoteAddress.replace(/%.*/, '')) : null;
  if (!parsed?.ok || !socket.remotePort || !socket.localPort) return null;
  const address = parsed.value;
  // An IPv4 client of an IPv6 socket (RFC 4291, section 2.5.5.2).
  const mapped = address.family === 6 && address.value >> 32n === 0xffffn;
  const client = mapped ? ipAddress(4, address.value & 0xffffffffn) : address;
  return flowKey({ client, clientPort: socket.remotePort, servicePort: socket.localPort });
}
