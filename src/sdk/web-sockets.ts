import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { StateHooks } from './transferable-server.ts';

/** What an application gives for its WebSockets; as `StateHooks` for sockets. */
export interface WebSocketHooks<W> {
  exportState(webSocket: W): Uint8Array | null;
  importState(webSocket: W, state: Buffer): void;
  finish?(webSocket: W): void;
}

/** Of the WebSocketServer of the library `ws`, version 8, what is needed. */
interface WebSocketServerLike<W> {
  /** Those that its own connections have: limits, and the class. */
  readonly options: object;
  readonly clients: Set<W>;
  on(event: 'connection', listener: (webSocket: W) => void): unknown;
}

interface WebSocketLike {
  readonly extensions: string;
  readonly protocol: string;
  readonly readyState: number;
  once(event: 'close', listener: () => void): unknown;
}

/** What the library keeps of a connection. Its own server makes connections by these members, since version 8.0. */
interface WebSocketParts {
  readonly _socket: Socket | null;
  readonly _receiver: Receiver;
  _protocol: string;
  setSocket(socket: Socket, head: Buffer, options: object): void;
}

interface Receiver extends Writable {
  readonly _state: number;
  readonly _bufferedBytes: number;
  readonly _fragmented: number;
}

const open = 1;

/**
 * Hooks for `transferable` that let the WebSockets of a server of the library `ws` move: `transferable(server, webSockets(webSocketServer, hooks))`. One
 * whose client is in the middle of a message stays, and so does one with extensions (compression has a state of its own).
 */
export function webSockets<W extends WebSocketLike>(
  server: WebSocketServerLike<W>,
  hooks: WebSocketHooks<W>,
): StateHooks {
  const bySocket = new WeakMap<Socket, W>();
  let make: (() => W) | null = null;

  function remember(webSocket: W): void {
    const socket = partsOf(webSocket)._socket;
    if (socket) bySocket.set(socket, webSocket);
  }

  server.on('connection', remember);
  return {
    exportState(socket) {
      const webSocket = bySocket.get(socket);
      if (!webSocket) throw new Error('it is no WebSocket of this server');
      if (webSocket.extensions !== '') throw new Error(`it uses ${webSocket.extensions}`);
      if (webSocket.readyState !== open) throw new Error('it is closing');
      if (isWithinMessage(partsOf(webSocket)._receiver)) throw new Error('its client is in the middle of a message');
      const state = hooks.exportState(webSocket);
      const protocol = Buffer.from(webSocket.protocol);
      return state && Buffer.concat([Uint8Array.of(protocol.length), protocol, state]);
    },
    importState(socket, state) {
      make ??= makerOf(server);
      const webSocket = make();
      const protocolEnd = 1 + (state[0] ?? 0);
      partsOf(webSocket)._protocol = state.toString('utf8', 1, protocolEnd);
      partsOf(webSocket).setSocket(socket, Buffer.alloc(0), server.options);
      server.clients.add(webSocket);
      webSocket.once('close', () => server.clients.delete(webSocket));
      remember(webSocket);
      hooks.importState(webSocket, state.subarray(protocolEnd));
    },
    finish(socket) {
      const webSocket = bySocket.get(socket);
      if (webSocket) hooks.finish?.(webSocket);
    },
  };
}

function isWithinMessage({ _state, _bufferedBytes, _fragmented, writableLength }: Receiver): boolean {
  return _state !== 0 || _bufferedBytes > 0 || _fragmented !== 0 || writableLength > 0;
}

/** The class that the server makes its connections of; without an address it begins no handshake. */
function makerOf<W>(server: WebSocketServerLike<W>): () => W {
  const { WebSocket } = server.options as {
    readonly WebSocket?: new (address: null, protocols: undefined, options: object) => W;
  };
  if (!WebSocket) throw new Error('the server is none of the library ws, version 8');
  return () => new WebSocket(null, undefined, server.options);
}

function partsOf(webSocket: unknown): WebSocketParts {
  return webSocket as WebSocketParts;
}
