// Runs inside a network namespace of its own, as "segment-host.mjs CASE": an agent's end of a segment, "eth0", whose other end is "cable". Tells what came of a
// case as one line of JSON.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { joinSegment } from '../../dist/agent/segment.js';
import { interfaceIndex, openPacketSocket } from '../../dist/platform/packet-socket.js';
import { arpEtherType, decodeArp, encodeArp } from '../../dist/wire/arp.js';

const boundMs = 10_000;
const askMs = 50;
const ip = (...words) => execFileSync('ip', words);
const address = (last) => ({ family: 4, value: 0x0a4d0000n + BigInt(last) });
const groupMac = '01:00:5e:4d:00:01';
const config = { node: 'r1', control: { peers: { r1: '10.77.0.11', r2: '10.77.0.12' } } };
const service = { device: 'eth0', address: address(100), groupMac };
const request = encodeArp({
  ...{ ethernetSource: '02:00:00:00:00:01', ethernetDestination: 'ff:ff:ff:ff:ff:ff', operation: 'request' },
  ...{ senderMac: '02:00:00:00:00:01', senderIp: address(1) },
  ...{ targetMac: '00:00:00:00:00:00', targetIp: address(100) },
});

/** What the other end hears from the agent: replies for the service address, requests for the peer's. */
const heard = { replies: 0, questions: 0 };
function listenAtCable() {
  return openPacketSocket('cable', arpEtherType, (frame) => {
    const { value } = decodeArp(frame);
    if (value?.operation === 'reply' && value.senderMac === groupMac) heard.replies++;
    if (value?.operation === 'request' && value.targetIp.value === address(12).value) heard.questions++;
  });
}

function join() {
  const told = { alive: [], warned: [] };
  const log = { warn: (line) => told.warned.push(line) };
  return { told, segment: joinSegment(config, service, log, (peer) => told.alive.push(peer)) };
}

/** Bytes that wait to be read by the agent: the seventh column of packet sockets, of which the fifth is the device (packet(7)). */
function unread() {
  const rows = readFileSync('/proc/self/net/packet', 'latin1')
    .split('\n')
    .map((line) => line.split(/\s+/));
  const own = rows.find((row) => Number(row[4]) === interfaceIndex('eth0'));
  return Number(own?.[6] ?? 0);
}

/** Again and again until it has come of it: a device that was up a moment ago may lose frames. */
async function until(condition, attempt) {
  for (const end = performance.now() + boundMs; !condition(); ) {
    if (performance.now() > end) throw new Error(`still ${JSON.stringify(heard)}`);
    attempt();
    await new Promise((resolve) => setTimeout(resolve, askMs));
  }
}

const cases = {
  /** The device goes down while a request waits to be read. */
  async down() {
    const cable = listenAtCable();
    const { segment } = join();
    await until(
      () => heard.replies > 0,
      () => cable.send(request),
    );
    // No turn of the event loop from here to the device that is down.
    for (const end = performance.now() + boundMs; unread() === 0 && performance.now() < end; ) cable.send(request);
    ip('link', 'set', 'eth0', 'down');
    const left = unread();
    await until(
      () => unread() === 0,
      () => {},
    );
    const before = heard.replies;
    ip('link', 'set', 'eth0', 'up');
    await until(
      () => heard.replies > before,
      () => cable.send(request),
    );
    await Promise.all([segment.close(), cable.close()]);
    return { left: left > 0, answers: 'again' };
  },
  /** Nothing that is sent leaves, so that the socket's buffer fills. */
  async full() {
    execFileSync('tc', ['qdisc', 'add', 'dev', 'eth0', 'root', 'tbf', 'rate', '8bit', 'burst', '64', 'limit', '100mb']);
    const { told, segment } = join();
    for (let i = 0; i < 2000; i++) segment.announce();
    await segment.close();
    return told.warned;
  },
  async downAtStart() {
    ip('link', 'set', 'eth0', 'down');
    const { segment } = join();
    ip('link', 'set', 'eth0', 'up');
    const cable = listenAtCable();
    await until(
      () => heard.replies > 0,
      () => cable.send(request),
    );
    await Promise.all([segment.close(), cable.close()]);
    return 'answers';
  },
  /** The cable is plugged in later, and later the own address goes. */
  async carrier() {
    ip('link', 'set', 'cable', 'down');
    const { told, segment } = join();
    ip('link', 'set', 'cable', 'up');
    const cable = listenAtCable();
    await until(
      () => heard.questions > 0,
      () => segment.probe(['r2']),
    );
    const silent = [...told.alive];
    ip('address', 'delete', '10.77.0.11/16', 'dev', 'eth0');
    segment.probe(['r2']);
    await Promise.all([segment.close(), cable.close()]);
    return { silent, elsewhere: told.alive };
  },
};

ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'cable');
ip('address', 'add', '10.77.0.11/16', 'dev', 'eth0');
for (const device of ['cable', 'eth0']) ip('link', 'set', device, 'up');
process.stdout.write(JSON.stringify(await cases[process.argv[2]]()));
