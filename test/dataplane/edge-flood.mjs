// A thread that sends one frame over and over, until it is told that it is over; counts how often, and says so.
import { parentPort, workerData } from 'node:worker_threads';
import { openPacketSocket } from '../../dist/platform/packet-socket.js';

const { device, frame, isOver } = workerData;
const link = openPacketSocket(device, 0x88b5, () => {});
let sent = 0;
for (; isOver[0] === 0; sent++) {
  link.send(frame);
  Atomics.add(isOver, 1, 1);
  Atomics.notify(isOver, 1);
}
await link.close();
parentPort.postMessage(sent);
