// A WebSocket for each browser, and a counter in each: its state goes along when the connection moves to another machine.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { transferable, webSockets } from 'manycast';
import { WebSocketServer } from 'ws';

const { HOST, PORT = '8080', NAME = hostname() } = process.env;
const page = readFileSync(new URL('page.html', import.meta.url));

const server = createServer((_request, response) => {
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  response.end(page);
});
const sockets = new WebSocketServer({ server });
const counts = new WeakMap();

function serve(webSocket, begin) {
  counts.set(webSocket, begin);
  const tick = setInterval(() => {
    counts.set(webSocket, counts.get(webSocket) + 1);
    webSocket.send(JSON.stringify({ count: counts.get(webSocket), name: NAME }));
  }, 250);
  webSocket.on('close', () => clearInterval(tick));
  webSocket.on('error', () => webSocket.terminate());
}

sockets.on('connection', (webSocket) => serve(webSocket, 0));

transferable(
  server,
  webSockets(sockets, {
    exportState: (webSocket) => Buffer.from(String(counts.get(webSocket))),
    importState: (webSocket, state) => serve(webSocket, Number(state)),
    // The page connects again, to whom the share has gone.
    finish: (webSocket) => webSocket.close(1012),
  }),
);
server.listen(Number(PORT), HOST, () => console.log(`${NAME} listens on port ${PORT}`));
