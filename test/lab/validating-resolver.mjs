// Stands in for a resolver that verifies DNSSEC: says of every answer of another server that it is authentic (the AD bit, RFC 4035, section 3.2.3).
//
//   ADDRESS PORT OTHER OTHER-PORT
import { createSocket } from 'node:dgram';

const [address, port, other, otherPort] = process.argv.slice(2);
const authenticData = 0x20;
const incoming = createSocket('udp4');
incoming.on('message', (query, { address: from, port: fromPort }) => {
  const outgoing = createSocket('udp4');
  outgoing.once('message', (answer) => {
    answer[3] |= authenticData;
    incoming.send(answer, fromPort, from);
    outgoing.close();
  });
  outgoing.send(query, Number(otherPort), other);
});
incoming.bind(Number(port), address, () => console.log('answering'));
