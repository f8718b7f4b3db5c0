// Runs inside a network namespace of its own: rules give the resets of a closed port's neighbour to a group; tells what came of it as one line of JSON.
import { execFileSync } from 'node:child_process';
import { flowOfReset, letGoPriority } from '../../dist/dataplane/held-resets.js';
import { openNftables } from '../../dist/platform/libnftables.js';
import { openPacketLog } from '../../dist/platform/packet-log.js';
import { openRawIp } from '../../dist/platform/raw-ip.js';

const boundMs = 10_000;
const group = 40_000;
const priority = letGoPriority.major * 0x10000 + letGoPriority.minor;
execFileSync('ip', ['link', 'set', 'lo', 'up']);
const run = openNftables();
run(`table ip test {
  counter let { }
  chain output {
    type filter hook output priority 0; policy accept;
    tcp flags & (rst | ack) == rst goto held
  }
  chain held {
    meta priority ${letGoPriority.major.toString(16)}:${letGoPriority.minor.toString(16)} meta priority set 0:0 counter name let accept
    log group ${group} snaplen 120 drop
  }
}`);
const packets = [];
let more = () => {};
const handlers = {
  onPacket(packet) {
    packets.push(packet);
    more();
  },
  onFailure(error) {
    throw error;
  },
};
const log = openPacketLog(group, 120, handlers);
let second = null;
try {
  openPacketLog(group, 120, handlers);
} catch (error) {
  second = error.message;
}
const raw = openRawIp(0);
const ack = (clientPort) => {
  const packet = Buffer.alloc(40);
  packet.set([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2]);
  packet.writeUInt16BE(clientPort, 20);
  packet.writeUInt16BE(80, 22);
  packet.writeUInt32BE(0x01020304, 28);
  packet.set([0x50, 0x10, 1, 0], 32);
  const words = [...Array(4).keys()].map((i) => packet.readUInt16BE(12 + 2 * i));
  const segment = [...Array(10).keys()].map((i) => packet.readUInt16BE(20 + 2 * i));
  let sum = [...words, ...segment, 6, 20].reduce((total, word) => total + word, 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(~sum & 0xffff, 36);
  return packet;
};
const count = 100;
for (let i = 0; i < count; i++) raw.send(ack(1000 + i));
const late = setTimeout(() => {
  throw new Error(`only ${packets.length} came`);
}, boundMs);
while (packets.length < count)
  await new Promise((resolve) => {
    more = resolve;
  });
clearTimeout(late);
const flows = packets.map((packet) => flowOfReset(packet));
const agent = openRawIp(priority);
for (const packet of packets.slice(0, 10)) agent.send(packet);
// A reset that the rules hold again is lost, and no error.
raw.send(packets[0]);
const let_ = JSON.parse(run('list counter ip test let')).nftables.find((each) => each.counter).counter.packets;
const told = {
  second,
  flows: flows.every(({ ok }) => ok),
  first: `${flows[0].value.client.value.toString(16)} ${flows[0].value.clientPort} ${flows[0].value.servicePort}`,
  // Of a segment without data: what it acknowledges is the number of the reset (RFC 9293, section 3.10.7.1).
  number: Buffer.from(packets[0]).readUInt32BE(24),
  bytes: packets[0].length,
  letGo: let_,
};
await log.close();
agent.close();
raw.close();
// Whoever comes next can have the group.
await openPacketLog(group, 120, handlers).close();
process.stdout.write(JSON.stringify(told));
