// Runs inside a network namespace of its own: a snooping bridge with the devices of a router and two members on it. `node igmp-socket-host.mjs JOIN QUERY`, both
// whole packets in hexadecimal; tells what came of them as one line of JSON.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseIp } from '../../dist/base/address.js';
import { openIgmpSocket } from '../../dist/platform/igmp-socket.js';
import { openPacketSocket } from '../../dist/platform/packet-socket.js';

const boundMs = 10_000;
const [join, query] = process.argv.slice(2).map((hex) => Uint8Array.from(Buffer.from(hex, 'hex')));
const run = (...command) => execFileSync(command[0], command.slice(1), { encoding: 'utf8' });

run('ip', 'link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '1');
run('ip', 'link', 'set', 'br0', 'up');
for (const [device, address] of [
  ['router', '10.77.0.1'],
  ['web1', '10.77.0.21'],
  ['web2', '10.77.0.22'],
]) {
  run('ip', 'link', 'add', `to-${device}`, 'type', 'veth', 'peer', 'name', device);
  run('ip', 'link', 'set', `to-${device}`, 'master', 'br0', 'up');
  run('ip', 'address', 'add', `${address}/24`, 'dev', device);
  run('ip', 'link', 'set', device, 'up');
  // Both ends are of one host.
  for (const [setting, value] of [
    ['accept_local', 1],
    ['rp_filter', 0],
  ]) {
    writeFileSync(`/proc/sys/net/ipv4/conf/${device}/${setting}`, `${value}\n`);
  }
}
writeFileSync('/proc/sys/net/ipv4/conf/all/rp_filter', '0\n');

const heard = { router: [], web1: [], frames: [] };
let more = () => {};
function listening(name) {
  return (packet) => {
    heard[name].push(packet);
    more();
  };
}
function onFailure(error) {
  throw error;
}
const late = setTimeout(() => {
  throw new Error(`only ${heard.router.length} and ${heard.web1.length} packets came`);
}, boundMs);
/** The first packet that `name` hears, now or later, for which `wanted` holds. */
async function first(name, wanted) {
  for (;;) {
    const found = heard[name].find(wanted);
    if (found) return Buffer.from(found).toString('hex');
    await new Promise((resolve) => {
      more = resolve;
    });
  }
}
const isOfGroup = (packet) => Buffer.from(packet).includes(Buffer.from([239, 1, 9, 9]));
const isJoin = (packet) => isFrom(21)(packet) && packet.length === join.length;
const isQuery = (packet) => packet[24] === 0x11;
const isFrom = (last) => (packet) => packet[15] === last && packet[12] === 10;

const allRouters = parseIp('224.0.0.22').value;
const frames = openPacketSocket('router', 0x0800, listening('frames'));
const router = openIgmpSocket('router', { listen: [allRouters] }, { onPacket: listening('router'), onFailure });
const web1 = openIgmpSocket('web1', { listen: [allRouters] }, { onPacket: listening('web1'), onFailure });

web1.send(join);
const cameJoin = await first('router', isJoin);
const snooped = JSON.parse(run('bridge', '-j', 'mdb', 'show', 'dev', 'br0'))[0].mdb.filter(
  ({ grp }) => grp === '239.1.9.9',
);
run('ip', 'address', 'add', '239.1.9.9/32', 'dev', 'web2', 'autojoin');
const cameKernel = await first('router', (packet) => isFrom(22)(packet) && isOfGroup(packet));
router.send(query);
const cameQuery = await first('web1', isQuery);
// What was sent before this would have come before it.
web1.send(join);
await first('router', (packet) => isJoin(packet) && packet !== heard.router.find(isJoin));
const frame = Buffer.from(heard.frames.find((each) => Buffer.from(each).includes(Buffer.from(join.slice(32)))));
const told = {
  ...{ join: cameJoin, kernel: cameKernel, query: cameQuery, frame: frame.toString('hex') },
  snooped: snooped.map(({ port, grp, filter_mode }) => `${port} ${grp} ${filter_mode ?? 'exclude'}`),
  own: [heard.router.some(isQuery), heard.web1.some(isJoin)],
};
clearTimeout(late);
await Promise.all([router.close(), web1.close(), frames.close()]);
process.stdout.write(JSON.stringify(told));
