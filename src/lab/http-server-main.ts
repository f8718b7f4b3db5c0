import { createServer } from 'node:http';
import { transferable } from '../sdk/index.ts';

/** An HTTP server on port 80 that names its replica, for where no other server is installed; its idle connections can be moved. */
const node = process.env.MANYCAST_NODE ?? '';
const server = createServer((_request, response) => {
  response.setHeader('X-Replica', node);
  response.end(`${node}\n`);
});
transferable(server).listen(80, '0.0.0.0');
