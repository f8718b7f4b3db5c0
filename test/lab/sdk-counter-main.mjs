// A server with state: answers each line with the name of the replica, how many lines this connection has sent, and the line. To "slow N" it counts to N, slowly; when its
// client has ended its side, and nothing is left to say, it tells how often it heard of that, and ends its own.
import { createServer } from '../../dist/sdk/index.js';

const node = process.env.MANYCAST_NODE;
const sessions = new WeakMap();
const tickMs = 50;

function serve(socket, session) {
  sessions.set(socket, session);
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    const lines = (session.rest + chunk).split('\n');
    session.rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith('slow ')) session.to = Number(line.slice(5));
      else socket.write(`${node} ${++session.count} ${line}\n`);
    }
    tick(socket, session);
  });
  socket.on('end', () => {
    session.ends++;
    if (session.at === session.to) finish(socket, session);
  });
  tick(socket, session);
}

function tick(socket, session) {
  if (session.at === session.to || session.timer) return;
  const next = () => {
    if (socket.destroyed || session.at === session.to) return clearInterval(session.timer);
    socket.write(`${++session.at}\n`);
    if (session.at === session.to && session.ends > 0) finish(socket, session);
  };
  Object.defineProperty(session, 'timer', { value: setInterval(next, tickMs), enumerable: false });
}

function finish(socket, { ends, to }) {
  socket.end(to > 0 ? `eof ${ends}\n` : '');
}

const exportState = (socket) => Buffer.from(JSON.stringify(sessions.get(socket)));
const importState = (socket, state) => serve(socket, JSON.parse(state));
const fresh = () => ({ rest: '', count: 0, at: 0, to: 0, ends: 0 });
createServer({ allowHalfOpen: true, exportState, importState }, (socket) => serve(socket, fresh())).listen(
  7,
  '0.0.0.0',
);
