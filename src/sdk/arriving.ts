import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { assert } from '../base/assert.ts';
import { holdWrites, stopReading } from './held-socket.ts';
import type { TransferableServer } from './transferable-server.ts';

/** A connection that came from another machine and stands still until it is here for good. */
export interface Arriving {
  readonly socket: Socket;
  /** Reading begins, with what the application there had not read. */
  go(): void;
  drop(): void;
}

/** Takes over `descriptor`, also when it throws: an error of the application, or of a descriptor that is no connection. */
export function adopt(server: TransferableServer, descriptor: number, state: Uint8Array, unread: Uint8Array): Arriving {
  const socket = socketOf(descriptor, halfOpen(server.server));
  // Nothing has been read: the constructor only asks the event loop to.
  const startReading = stopReading(socket);
  const writes = holdWrites(socket);
  // Nobody may listen yet; as of any connection, the application hears of errors later on.
  const ignore = (): void => {};
  socket.on('error', ignore);
  try {
    assert(socket.remotePort !== undefined, 'the descriptor is a connection');
    belongTo(server.server, socket);
    server.importState(socket, Buffer.from(state));
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return {
    socket,
    go() {
      if (socket.destroyed) return;
      socket.off('error', ignore);
      if ((server.server as { noDelay?: boolean }).noDelay) socket.setNoDelay(true);
      // Not unshifted, which passes an encoding by; nothing else has been read yet.
      if (unread.length > 0) socket.push(Buffer.from(unread));
      writes.release();
      startReading();
      server.arrived(socket);
    },
    drop: () => void socket.destroy(),
  };
}

function socketOf(descriptor: number, allowHalfOpen: boolean): Socket {
  try {
    return new Socket({ fd: descriptor, allowHalfOpen });
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function halfOpen(server: object): boolean {
  return (server as { allowHalfOpen?: boolean }).allowHalfOpen === true;
}

/** As net.Server does for each connection that it accepts: `close` waits for it, `getConnections` counts it. */
function belongTo(server: object, socket: Socket): void {
  const counting = server as { _connections?: number };
  if (typeof counting._connections !== 'number') return;
  counting._connections++;
  Object.assign(socket, { server, _server: server });
}
