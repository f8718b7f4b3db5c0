import { createServer as createPlainServer, type Server, type ServerOpts, type Socket } from 'node:net';
import { processTransfers } from './process-transfers.ts';
import type { StateHooks } from './transferable-server.ts';

export type ServerOptions = ServerOpts & StateHooks;

/**
 * As `createServer` of node:net, with connections that can move to another machine while they are open. `listener` gets the connections that
 * clients open here; those that come from elsewhere begin with `importState`. Without an agent it is a plain server.
 */
export function createServer(options: ServerOptions, listener?: (socket: Socket) => void): Server {
  const server = createPlainServer(options, listener);
  processTransfers().add({
    server,
    refusalOf: () => null,
    exportState: (socket) => options.exportState(socket),
    importState: (socket, state) => options.importState(socket, state),
    arrived: () => {},
    finish: (socket) => options.finish?.(socket),
  });
  return server;
}
