// Sends a numbered datagram to the group from each address of this machine every 40 ms. Says in a JSON line for each line on its input what has come of them: how
// many were sent, how many answered, by whom each address was last, and those that were answered more than once. After the line "stop" it sends no more.
import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { createInterface } from 'node:readline';

const group = process.env.MANYCAST_SERVICE_ADDRESS;
const port = 7007;
const timers = [];
const seen = { sent: 0, answered: 0, last: {}, twice: [] };

for (const { family, address } of networkInterfaces().eth0) {
  if (family !== 'IPv4') continue;
  const answers = new Map();
  let count = 0;
  const socket = createSocket('udp4');
  socket.on('message', (answer, from) => {
    const [replica, number] = answer.toString().split(' ');
    const by = [...(answers.get(number) ?? []), `${replica} ${from.address}`];
    answers.set(number, by);
    seen.last[address] = replica;
    if (by.length === 1) seen.answered++;
    else seen.twice.push({ address, number, by });
  });
  socket.bind(0, address, () => {
    socket.setMulticastTTL(4);
    const timer = setInterval(() => {
      seen.sent++;
      socket.send(String(++count), port, group, () => {});
    }, 40);
    timers.push(timer);
  });
}
createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'stop') timers.forEach(clearInterval);
    console.log(JSON.stringify(seen));
  })
  .on('close', () => process.exit());
