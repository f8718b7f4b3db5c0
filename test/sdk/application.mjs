// One application with the SDK, told by its arguments what it is, the address and the port. Says "listening PORT" on its output, then what happens.
import { createServer as createHttpServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import express from 'express';
import { fastify } from 'fastify';
import { WebSocketServer } from 'ws';
import { createServer, transferable, webSockets } from '../../dist/sdk/index.js';

const [kind, address, port] = process.argv.slice(2);
const name = process.env.NAME;
const say = (line) => process.stdout.write(`${line}\n`);
const listening = (server) => say(`listening ${server.address().port}`);

/** Counts the lines of each connection. What stands on an unfinished line says how it takes an export or an import. */
function lines() {
  const counts = new Map();
  const answer = (socket, line) => {
    if (line === 'pause') return void socket.pause();
    counts.set(socket, counts.get(socket) + 1);
    socket.write(`${name} ${counts.get(socket)} ${line}\n`);
  };
  const serve = (socket, count, beginning) => {
    let text = beginning;
    counts.set(socket, count);
    socket.partial = () => text;
    if (process.env.ENCODING) socket.setEncoding(process.env.ENCODING);
    socket.on('data', (chunk) => {
      const all = (text + chunk).split('\n');
      text = all.pop();
      for (const line of all) answer(socket, line);
    });
    socket.on('error', () => {});
    socket.on('moved', () => say('moved'));
    socket.on('close', () => say('close'));
  };
  process.on('SIGUSR2', () => {
    for (const socket of counts.keys()) socket.resume();
    // Once around the event loop, and what can be read has been.
    setTimeout(() => setImmediate(() => say('resumed')), 5);
  });
  const exportState = (socket) => {
    const partial = socket.partial();
    if (partial === 'keep') return null;
    if (partial === 'throw') throw new Error('not now');
    if (partial === 'large') return new Uint8Array(1024 * 1024 + 1);
    if (partial === 'die') process.exit(1);
    const state = Buffer.from(JSON.stringify({ count: counts.get(socket), partial }));
    if (partial === 'write') {
      socket.write('exporting\n');
      setImmediate(() => socket.write('later\n'));
    }
    return state;
  };
  const importState = (socket, state) => {
    const { count, partial } = JSON.parse(state);
    if (partial === 'refuse') throw new Error('no room');
    if (partial === 'perish') process.exit(1);
    serve(socket, count, partial);
  };
  const finish = (socket) => socket.end('goodbye\n');
  const server = createServer({ exportState, importState, finish }, (socket) => {
    socket.write('welcome\n');
    serve(socket, 0, '');
  });
  server.listen(Number(port), address, () => listening(server));
}

/** Sends numbered lines without end, as fast as they are taken; the state is the number of the next. */
function stream() {
  const next = new Map();
  const serve = (socket, number) => {
    next.set(socket, number);
    const fill = () => {
      while (!socket.destroyed) {
        const at = next.get(socket);
        next.set(socket, at + 1);
        if (!socket.write(`${at} ${'x'.repeat(at % 5000)}\n`)) break;
      }
    };
    socket.on('drain', fill);
    socket.on('error', () => {});
    fill();
  };
  const server = createServer(
    {
      exportState: (socket) => Buffer.from(String(next.get(socket))),
      importState: (socket, state) => serve(socket, Number(state)),
    },
    (socket) => serve(socket, 0),
  );
  server.listen(Number(port), address, () => listening(server));
}

function http() {
  let release = () => {};
  const server = createHttpServer((request, response) => {
    if (request.url === '/wait') {
      say('waiting');
      release = () => response.end(`${name} waited`);
    } else if (request.url === '/release') {
      release();
      response.end(`${name} released`);
    } else request.resume().on('end', () => response.end(`${name} ${request.url}`));
  });
  server.on('connection', (socket) => socket.on('close', () => say('close')));
  if (process.env.KEEP_ALIVE_MS) server.keepAliveTimeout = Number(process.env.KEEP_ALIVE_MS);
  transferable(server).listen(Number(port), address, () => listening(server));
}

/** Without a certificate: no connection gets as far as wanting one. */
function tls() {
  const server = transferable(createTlsServer());
  server.on('connection', () => say('connection'));
  server.listen(Number(port), address, () => listening(server));
}

async function withFastify() {
  const app = fastify();
  app.get('/:word', async (request) => ({ name, word: request.params.word }));
  transferable(app.server);
  await app.listen({ port: Number(port), host: address });
  listening(app.server);
}

function withExpress() {
  const app = express();
  app.get('/:word', (request, response) => response.json({ name, word: request.params.word }));
  const server = transferable(createHttpServer(app));
  server.listen(Number(port), address, () => listening(server));
}

function webSocket() {
  const server = createHttpServer();
  const sockets = new WebSocketServer({ server });
  const serve = (each, count) => {
    each.count = count;
    each.on('message', (message) => each.send(`${name} ${++each.count} ${message}`));
    each.on('error', () => {});
  };
  sockets.on('connection', (each) => serve(each, 0));
  const hooks = {
    exportState: (each) => Buffer.from(String(each.count)),
    importState: (each, state) => serve(each, Number(state)),
    finish: (each) => each.close(1001, 'convenient point'),
  };
  transferable(server, process.env.STATELESS ? undefined : webSockets(sockets, hooks));
  server.listen(Number(port), address, () => listening(server));
}

({ lines, stream, http, tls, fastify: withFastify, express: withExpress, webSocket })[kind]();
