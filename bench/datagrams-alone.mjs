// Sends so many datagrams a second to a port of this machine, takes those that come, and does nothing else: "node datagrams-alone.mjs OWN-PORT PORT PER-SECOND".
import { createSocket } from 'node:dgram';

const [ownPort, port, perSecond] = process.argv.slice(2).map(Number);
/** As long as a heartbeat of three agents. */
const datagram = Buffer.alloc(180);
const socket = createSocket('udp4').on('message', () => {});
socket.bind(ownPort, '127.0.0.1', () => setInterval(() => socket.send(datagram, port, '127.0.0.1'), 1000 / perSecond));
