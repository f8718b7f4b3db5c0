import { type IncomingMessage, Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import { processTransfers } from './process-transfers.ts';
import type { Refused, StateHooks, TransferableServer } from './transferable-server.ts';

/** The first byte of a state, which says what kind of connection it is of. */
const betweenRequests = 0;
const upgraded = 1;

/**
 * Lets the connections of an HTTP server, also of one that a framework made, move to another machine while no request is under way on them; what the
 * server does is unchanged. Upgraded connections (WebSocket) move when `hooks` gives and takes their state. Without an agent nothing happens at all.
 * Returns the server.
 */
export function transferable<S extends Server>(server: S, hooks?: StateHooks): S {
  if (!(server instanceof Server) && !((server as unknown) instanceof TlsServer)) {
    throw new TypeError('transferable takes a server of node:http; for others there is createServer');
  }
  processTransfers().add(httpConnections(server, hooks));
  return server;
}

function httpConnections(server: Server, hooks: StateHooks | undefined): TransferableServer {
  const finishing = new WeakSet<Socket>();
  const arrivedIdle = new WeakSet<Socket>();

  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    // Until its first request an arrived connection had the time-out of an idle one.
    if (arrivedIdle.delete(socket)) socket.setTimeout(server.timeout);
    if (finishing.has(socket)) response.setHeader('Connection', 'close');
  });

  return {
    server,
    refusalOf: (socket) => refusalOf(server, hooks, socket),
    exportState(socket) {
      if (!isUpgraded(socket)) return Uint8Array.of(betweenRequests);
      const state = hooks?.exportState(socket) ?? null;
      return state && Buffer.concat([Uint8Array.of(upgraded), state]);
    },
    importState(socket, state) {
      if (state[0] === betweenRequests) {
        arrivedIdle.add(socket);
        server.emit('connection', socket);
      } else if (state[0] === upgraded && hooks) hooks.importState(socket, state.subarray(1));
      else throw new Error('the application takes no upgraded connections');
    },
    arrived(socket) {
      if (arrivedIdle.has(socket) && server.keepAliveTimeout > 0) socket.setTimeout(server.keepAliveTimeout);
    },
    finish(socket) {
      if (isUpgraded(socket)) return hooks?.finish?.(socket);
      // Not ended here: a request may be on its way. The next response says that it is the last (RFC 9112, section 9.6).
      finishing.add(socket);
      const response = partsOf(socket)._httpMessage;
      if (response && !response.headersSent) response.setHeader('Connection', 'close');
    },
  };
}

function refusalOf(server: object, hooks: StateHooks | undefined, socket: Socket): Refused | null {
  if (server instanceof TlsServer) return { code: 'tls', reason: 'the state of TLS stays in this process' };
  if (isUpgraded(socket))
    return hooks ? null : { code: 'upgraded', reason: 'the application exports no state of upgraded connections' };
  if (partsOf(socket)._httpMessage || !isIdle(server, socket))
    return { code: 'busy', reason: 'in the middle of a request' };
  return null;
}

/** What Node's HTTP server attaches to a socket; there is no public way to ask whether a connection is idle. */
interface HttpParts {
  /** Null once a connection is upgraded. */
  readonly parser?: object | null;
  /** The response under way. */
  readonly _httpMessage?: ServerResponse | null;
}

function partsOf(socket: Socket): HttpParts {
  return socket as HttpParts;
}

function isUpgraded(socket: Socket): boolean {
  return !partsOf(socket).parser;
}

/** Whether no request has begun that has not been read to its end. */
function isIdle(server: object, socket: Socket): boolean {
  return socket.bytesRead === 0 || idleOf(server).has(socket);
}

/** Of each server, those that are idle, until something else happens: many are asked about at once. */
const idleNow = new WeakMap<object, ReadonlySet<Socket>>();

/** As `closeIdleConnections` of a server finds them; none where Node keeps its list elsewhere. */
function idleOf(server: object): ReadonlySet<Socket> {
  const known = idleNow.get(server);
  if (known) return known;
  const name = Object.getOwnPropertySymbols(server).find((each) => each.description === 'http.server.connections');
  const list = name ? (Reflect.get(server, name) as ConnectionsList | undefined) : undefined;
  const idle = new Set(list?.idle?.().map((parser) => parser.socket));
  idleNow.set(server, idle);
  queueMicrotask(() => idleNow.delete(server));
  return idle;
}

/** Of Node's own; the same in Node 20 and 24. */
interface ConnectionsList {
  idle?(): { readonly socket: Socket }[];
}
