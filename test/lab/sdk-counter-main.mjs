// A server with state: answers each line with the name of the replica, how many lines this connection has sent, and the line.
import { createServer } from '../../dist/sdk/index.js';

const node = process.env.MANYCAST_NODE;
const sessions = new WeakMap();

function serve(socket, { rest, count }) {
  const session = { rest, count };
  sessions.set(socket, session);
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    const lines = (session.rest + chunk).split('\n');
    session.rest = lines.pop();
    for (const line of lines) socket.write(`${node} ${++session.count} ${line}\n`);
  });
}

const exportState = (socket) => Buffer.from(JSON.stringify(sessions.get(socket)));
const importState = (socket, state) => serve(socket, JSON.parse(state));
createServer({ exportState, importState }, (socket) => serve(socket, { rest: '', count: 0 })).listen(7, '0.0.0.0');
