import { createServer } from 'node:http';

/** A plain HTTP server on port 80 that names its replica, for where no other server is installed. */
const node = process.env.MANYCAST_NODE ?? '';
createServer((_request, response) => {
  response.setHeader('X-Replica', node);
  response.end(`${node}\n`);
}).listen(80, '0.0.0.0');
