export type { ClientEnd, SessionHooks } from './datagram-sessions.ts';
export { createSocket, type DatagramOptions } from './datagram-socket.ts';
export { transferable } from './http-server.ts';
export { createServer, type ServerOptions } from './net-server.ts';
export type { StateHooks } from './transferable-server.ts';
export { type WebSocketHooks, webSockets } from './web-sockets.ts';
