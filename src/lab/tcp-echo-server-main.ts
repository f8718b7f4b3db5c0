import type { Socket } from 'node:net';
import { createServer } from '../sdk/index.ts';

/**
 * Answers each line on port 7 with the name of the replica, how many lines the connection has sent, and the line (RFC 862, with some more). The count goes along when
 * the connection is moved.
 */
const node = process.env.MANYCAST_NODE ?? '';
const lineCharactersMax = 1024;

interface Session {
  /** The begin of a line whose end has not come. */
  rest: string;
  lines: number;
}

const sessions = new WeakMap<Socket, Session>();

function serve(socket: Socket, session: Session): void {
  sessions.set(socket, session);
  socket.setNoDelay(true);
  socket.setEncoding('latin1');
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: string) => {
    const lines = (session.rest + chunk).split('\n');
    session.rest = lines.pop() ?? '';
    if ([session.rest, ...lines].some((line) => line.length > lineCharactersMax)) socket.destroy();
    else for (const line of lines) socket.write(`${node} ${++session.lines} ${line}\n`);
  });
}

const server = createServer(
  {
    exportState: (socket) => Buffer.from(JSON.stringify(sessions.get(socket))),
    importState: (socket, state) => serve(socket, JSON.parse(Buffer.from(state).toString()) as Session),
  },
  (socket) => serve(socket, { rest: '', lines: 0 }),
);
server.listen(7, '0.0.0.0');
