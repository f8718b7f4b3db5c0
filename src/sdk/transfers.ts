import { closeSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { ipAddress, parseIp } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import { type AgentSession, openAgentLink } from './agent-link.ts';
import { type Arriving, adopt } from './arriving.ts';
import { descriptorOf } from './held-socket.ts';
import { freeze, type Leaving } from './leaving.ts';
import { type AgentMessage, flowKey, type TransferFlow } from './message.ts';
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
export interface Transfers {
  /** Its connections can move while it listens. */
  add(server: TransferableServer): void;
}

/** `path` is the Unix socket that the agent has for applications. */
export function openTransfers(path: string): Transfers {
  const servers = new Map<number, TransferableServer>();
  const connections = new Map<string, Connection>();
  const arriving = new Map<string, Arriving>();
  const deadlines = new Map<string, NodeJS.Timeout>();
  const link = openAgentLink({
    path,
    ports: () => [...servers.keys()],
    onMessage,
    onEnd: (session) => {
      for (const key of [...deadlines.keys()]) giveUp(session, key);
    },
  });

  function onMessage(session: AgentSession, message: AgentMessage): void {
    switch (message.type) {
      case 'freeze':
        for (const flow of message.flows) void freezeOne(session, message.id, flow);
        break;
      case 'adopt':
        adoptOne(session, message);
        break;
      case 'moved':
      case 'thaw':
        settleLeaving(flowKey(message.flow), message.type);
        break;
      case 'go':
      case 'drop':
        settleArriving(flowKey(message.flow), message.type);
        break;
      case 'finish':
        for (const flow of message.flows) {
          const connection = connections.get(flowKey(flow));
          if (connection) connection.server.finish(connection.socket);
        }
        break;
    }
  }

  async function freezeOne(session: AgentSession, id: number, flow: TransferFlow): Promise<void> {
    const refuse = ({ code, reason }: Refused): void => session.say({ type: 'refused', id, flow, code, reason });
    const key = flowKey(flow);
    const connection = connections.get(key);
    if (!connection) return refuse({ code: 'unknown', reason: 'no such connection here' });
    if (connection.leaving || arriving.has(key)) return refuse({ code: 'busy', reason: 'it is moving already' });
    connection.leaving = 'freezing';
    const outcome = await freeze(connection.server, connection.socket, session.kernel);
    connection.leaving = null;
    if ('code' in outcome) return refuse(outcome);
    if (!session.isOpen()) return outcome.thaw();
    connection.leaving = outcome;
    deadline(session, key);
    try {
      const descriptor = await session.descriptors.pass(descriptorOf(connection.socket));
      session.say({ type: 'frozen', id, flow, state: outcome.state, unread: outcome.unread, descriptor });
    } catch (error) {
      settleLeaving(key, 'thaw');
      refuse({ code: 'busy', reason: messageOf(error) });
    }
  }

  function adoptOne(session: AgentSession, { id, flow, state, unread, descriptor: number }: AgentsWord<'adopt'>): void {
    const key = flowKey(flow);
    const refuse = (refused: Refused): void => session.say({ type: 'refused', id, flow, ...refused });
    const descriptor = takenBy(session, number);
    if (descriptor === null) return;
    try {
      const server = servers.get(flow.servicePort);
      if (!server || connections.has(key)) {
        closeSync(descriptor);
        if (server) refuse({ code: 'busy', reason: 'such a connection is here already' });
        else refuse({ code: 'unknown', reason: 'nobody listens on that port' });
        return;
      }
      const arrived = adopt(server, descriptor, state, unread);
      arriving.set(key, arrived);
      track(server, arrived.socket, key);
      deadline(session, key);
      session.say({ type: 'adopted', id, flow });
    } catch (error) {
      refuse({ code: 'application', reason: messageOf(error) });
    }
  }

  function settleLeaving(key: string, how: 'moved' | 'thaw'): void {
    const connection = connections.get(key);
    const leaving = connection?.leaving;
    if (!leaving || leaving === 'freezing') return;
    connection.leaving = null;
    settled(key);
    if (how === 'thaw') leaving.thaw();
    else leaving.forget();
  }

  function settleArriving(key: string, how: 'go' | 'drop'): void {
    const arrived = arriving.get(key);
    if (!arrived) return;
    arriving.delete(key);
    settled(key);
    arrived[how]();
  }

  function deadline(session: AgentSession, key: string): void {
    deadlines.set(key, setTimeout(() => giveUp(session, key), standstillMs).unref());
  }

  function settled(key: string): void {
    clearTimeout(deadlines.get(key));
    deadlines.delete(key);
  }

  /** A socket in repair mode may live on elsewhere, and only an agent could end the mode: it goes without a word. */
  function giveUp({ kernel }: AgentSession, key: string): void {
    const connection = connections.get(key);
    if (connection?.leaving) settleLeaving(key, kernel.isInRepair(descriptorOf(connection.socket)) ? 'moved' : 'thaw');
    settleArriving(key, 'drop');
    settled(key);
  }

  /** Of an arriving connection the key is that of its flow, which names it also when its socket has no more. */
  function track(server: TransferableServer, socket: Socket, key = keyOf(socket)): void {
    if (key === null || connections.get(key)?.socket === socket) return;
    const connection: Connection = { server, socket, leaving: null };
    connections.set(key, connection);
    socket.once('close', () => {
      if (connections.get(key) !== connection) return;
      connections.delete(key);
      arriving.delete(key);
      settled(key);
    });
  }

  return {
    add(server) {
      let port = 0;
      const listening = (): void => {
        port = portOf(server.server.address());
        if (port === 0) return;
        servers.set(port, server);
        link.announce();
      };
      server.server.on('listening', listening);
      server.server.on('close', () => {
        if (servers.get(port) === server) servers.delete(port);
        link.announce();
      });
      server.server.prependListener('connection', (socket: Socket) => track(server, socket));
      if (server.server.listening) listening();
    },
  };
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
