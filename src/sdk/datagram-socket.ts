import { createSocket as createPlainSocket, type RemoteInfo, type Socket, type SocketOptions } from 'node:dgram';
import { existsSync } from 'node:fs';
import type { SessionHooks } from './datagram-sessions.ts';
import { Datagrams } from './datagrams.ts';
import { defaultSocketPath } from './process-transfers.ts';

let datagrams: Datagrams | null = null;

export type DatagramOptions = SocketOptions & { readonly type: 'udp4' } & (
    | SessionHooks
    | { readonly exportState?: never }
  );

/**
 * As `createSocket` of node:dgram, for IPv4: once it is bound and has joined the service's multicast group (`addMembership`), it gets the datagrams of this
 * replica's share alone, and answers from its own address. It takes nothing while its agent is not there or has no lease: datagrams that it is then to send are lost, as
 * a network would lose them. On a machine without an agent (neither MANYCAST_SDK_SOCKET nor the agent's Unix socket) it is a plain socket.
 */
export function createSocket(
  options: 'udp4' | DatagramOptions,
  listener?: (message: Buffer, from: RemoteInfo) => void,
): Socket {
  const given: DatagramOptions = typeof options === 'string' ? { type: options } : options;
  const socket = createPlainSocket(given);
  const path = process.env.MANYCAST_SDK_SOCKET ?? (existsSync(defaultSocketPath) ? defaultSocketPath : null);
  if (path !== null) {
    datagrams ??= new Datagrams(path);
    datagrams.add(socket, given.exportState ? given : null);
  }
  if (listener) socket.on('message', listener);
  return socket;
}
