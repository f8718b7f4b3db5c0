// An application that knows nothing of moving connections, and one line that lets its idle keep-alive connections move.
import { hostname } from 'node:os';
import { fastify } from 'fastify';
import { transferable } from 'manycast';

const { HOST = '0.0.0.0', PORT = '8080', NAME = hostname() } = process.env;

const app = fastify();
app.get('/', async () => ({ name: NAME }));

transferable(app.server);
await app.listen({ port: Number(PORT), host: HOST });
console.log(`${NAME} listens on port ${PORT}`);
