// A thread that sends one frame over and over, until it is told that it is over; says how often.
import { parentPort, workerData } from 'node:worker_threads';
import { openPacketSocket } from '../../dist/platform/packet-socket.js';

const { device, frame, isOver } = workerData;
const link = openPacketSocket(device, 0x88b5, () => {});
let sent = 0;
for (; isOver[0] === 0; sent++) link.send(frame);
await link.close();
parentPort.postMessage(sent);
