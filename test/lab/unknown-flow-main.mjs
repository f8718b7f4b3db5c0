// A client of the service on the node it runs on, which has no client address that the lab's own programs use at the same time.
//
//   sessions SERVICE ADDRESS...
//       connects to the echo server from each address and asks; each line of input has all ask again. Prints a JSON line for each answer and end.
//   strays SERVICE RATE COUNT ADDRESS...
//       sends ACKs of connections that nobody has, so many a second, each of another port; prints how many a second they were
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { linux, send, socket } from '../../dist/platform/libc.js';

const echoPort = 7;
const rawIp = { IPPROTO_TCP: 6, IPPROTO_RAW: 255 };

function sessions(service, addresses) {
  const sockets = addresses.map((localAddress) => {
    const client = connect({ host: service, port: echoPort, localAddress });
    const say = (what) => process.stdout.write(`${JSON.stringify({ localAddress, ...what })}\n`);
    client.once('connect', () => client.write('hello\n'));
    client.setEncoding('latin1').on('data', (line) => {
      const [replica, lines] = line.split(' ');
      say({ replica, lines: Number(lines) });
    });
    client.once('error', ({ code }) => say({ ended: code }));
    client.once('end', () => say({ ended: 'end' }));
    return client;
  });
  createInterface({ input: process.stdin }).on('line', () => {
    for (const client of sockets) client.write('again\n');
  });
}

async function strays(service, rate, count, addresses) {
  const out = socket(linux.AF_INET, linux.SOCK_RAW, rawIp.IPPROTO_RAW);
  const to = Uint8Array.from([linux.AF_INET, 0, 0, 0, ...service.split('.').map(Number), ...Array(8).fill(0)]);
  const begin = performance.now();
  for (let sent = 0; sent < count; ) {
    const end = Math.min(count, ((performance.now() - begin) * rate) / 1000 + 1);
    for (; sent < end; sent++)
      send(out, ack(addresses[sent % addresses.length], service, 10_000 + (sent % 50_000)), to);
    await delay(1);
  }
  const perSecond = Math.round((count * 1000) / (performance.now() - begin));
  process.stdout.write(`${JSON.stringify({ perSecond })}\n`);
}

function ack(source, destination, port) {
  const bytes = Buffer.alloc(40);
  bytes.set([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, rawIp.IPPROTO_TCP]);
  bytes.set(source.split('.').map(Number), 12);
  bytes.set(destination.split('.').map(Number), 16);
  const segment = bytes.subarray(20);
  segment.writeUInt16BE(port, 0);
  segment.writeUInt16BE(echoPort, 2);
  segment.writeUInt32BE(1, 4);
  segment.writeUInt32BE(12_345, 8);
  segment.set([0x50, 0x10, 0x10, 0], 12);
  segment.writeUInt16BE(checksum(Buffer.concat([bytes.subarray(12, 20), Buffer.from([0, 6, 0, 20]), segment])), 16);
  return bytes;
}

/** RFC 1071. */
function checksum(bytes) {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const [what, service, ...args] = process.argv.slice(2);
if (what === 'sessions') sessions(service, args);
else await strays(service, Number(args[0]), Number(args[1]), args.slice(2));
