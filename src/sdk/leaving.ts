import type { Socket } from 'node:net';
import { messageOf } from '../base/operating-error.ts';
import type { AgentSession } from './agent-link.ts';
import { letGoOn } from './calm.ts';
import { descriptorOf, type HeldWrites, holdWrites, stopReading, takeUnread, type Unread } from './held-socket.ts';
import { stateBytesMax } from './message.ts';
import type { Refused, TransferableServer } from './transferable-server.ts';

/** How long written data may take to reach the kernel: longer when the client reads nothing. */
const drainMs = 100;

/** A connection that stands still until it has moved, or goes on here. */
export interface Leaving {
  readonly state: Uint8Array;
  readonly unread: Uint8Array;
  /** The application's end of it goes without a word to the client, which now talks to another machine. */
  forget(): void;
  /** Goes on as if nothing had been. */
  thaw(): void;
}

/** Stops a connection and exports what the application knows of it. A refused one goes on. */
export async function freeze(
  server: TransferableServer,
  socket: Socket,
  kernel: AgentSession['kernel'],
): Promise<Leaving | Refused> {
  const refused = server.refusalOf(socket) ?? closingOf(socket, kernel);
  if (refused) return refused;
  // In the same turn, so that nothing is read; what was written meanwhile is in the state, and finds room, as nothing is on its way.
  letGoOn(socket);
  const startReading = stopReading(socket);
  let writes: HeldWrites | null = null;
  let unread: Unread | null = null;
  const thaw = (): void => {
    writes?.release();
    if (!socket.destroyed) unread?.putBack();
    startReading();
  };

  const state = stateOf(server, socket);
  if ('code' in state) {
    thaw();
    return state;
  }
  // In the same turn as the export: nothing is in both, or in neither, of the state and what follows.
  unread = takeUnread(socket);
  writes = holdWrites(socket);
  const drained = await writes.drained(drainMs);
  const complaint = complaintAbout(socket, drained, unread, kernel);
  if (complaint) {
    thaw();
    return complaint;
  }
  return {
    state: state.exported,
    unread: unread.bytes,
    thaw,
    forget() {
      socket.emit('moved');
      socket.destroy();
    },
  };
}

function stateOf(server: TransferableServer, socket: Socket): { readonly exported: Uint8Array } | Refused {
  let exported: Uint8Array | null;
  try {
    exported = server.exportState(socket);
  } catch (error) {
    return { code: 'application', reason: `exportState: ${messageOf(error)}` };
  }
  if (exported === null) return { code: 'application', reason: 'the application keeps it for now' };
  if (!(exported instanceof Uint8Array)) return { code: 'application', reason: 'exportState gave no bytes' };
  if (exported.length > stateBytesMax)
    return { code: 'too-large', reason: `state of ${exported.length} bytes, at most ${stateBytesMax}` };
  return { exported };
}

function complaintAbout(
  socket: Socket,
  drained: boolean,
  { bytes }: Unread,
  kernel: AgentSession['kernel'],
): Refused | null {
  const closing = closingOf(socket, kernel);
  if (closing) return closing;
  if (!drained) return { code: 'busy', reason: `written data has not reached the kernel for ${drainMs} ms` };
  if (bytes.length > stateBytesMax)
    return { code: 'too-large', reason: `${bytes.length} bytes that the application has not read` };
  return null;
}

/** Why a connection that is ending cannot move, null of one that is not. */
export function closingOf(socket: Socket, kernel: AgentSession['kernel']): Refused | null {
  if (socket.destroyed || descriptorOf(socket) < 0) return { code: 'closing', reason: 'the application has closed it' };
  if (socket.writableEnded || !kernel.isEstablished(descriptorOf(socket)))
    return { code: 'closing', reason: 'one side has closed its direction' };
  return null;
}
