// Runs inside a network namespace of its own, which is the router: clients behind `wan`, replicas behind `lan`, as frames at the other ends of the two cables.
// Reads one JSON request a line, answers one JSON line.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import { formatIp, ipBytes, ipFromBytes, parseIp } from '../../dist/base/address.js';
import { macBytes, macFromBytes, multicastMac } from '../../dist/base/mac.js';
import { createEdgePlane } from '../../dist/dataplane/edge-plane.js';
import { runIp } from '../../dist/platform/ip-command.js';
import { openNftables } from '../../dist/platform/libnftables.js';
import { openPacketSocket } from '../../dist/platform/packet-socket.js';

const routerMac = '02:00:00:00:01:01';
const clientMac = '02:00:00:00:02:01';
const replicas = { '02:00:00:00:00:0b': 'r1', '02:00:00:00:00:0c': 'r2', '02:00:00:00:00:0d': 'r3' };
const sentinel = '10.77.0.99';
const sentinelMac = '02:00:00:00:00:63';

runIp(
  [],
  `link set lo up
link add wan address ${routerMac} mtu 1500 type veth peer name wanwire
link add lan mtu 1500 type veth peer name lanwire
link set wanwire up
link set lanwire up
link set wan up
link set lan up
address add 10.77.1.254/24 dev wan
address add 10.77.0.1/24 dev lan
route add default via 10.77.1.1 dev wan
neighbour add 10.77.1.1 lladdr ${clientMac} dev wan
neighbour add 10.77.0.100 lladdr 02:00:00:00:00:64 dev lan
neighbour add ${sentinel} lladdr ${sentinelMac} dev lan
${Object.keys(replicas)
  .map((mac, i) => `neighbour add 10.77.0.1${i + 1} lladdr ${mac} dev lan`)
  .join('\n')}`.split('\n'),
);
writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
// Errors that are sent on purpose must not wait for each other.
writeFileSync('/proc/sys/net/ipv4/icmp_ratelimit', '0');
const nft = openNftables();
let plane = createEdgePlane({ nft, ip: runIp });
/** What came out at the other ends of the cables, oldest first. */
let arrived = [];
const lanWire = openPacketSocket('lanwire', 0x0800, (bytes) => came('lan', bytes));
const wanWire = openPacketSocket('wanwire', 0x0800, (bytes) => came('wan', bytes));

/** What the kernel says of its own groups (IGMP) is no packet that was sent on. */
function came(at, bytes) {
  if (bytes[23] !== 2) arrived.push({ at, ...read(bytes) });
}

function read(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const mac = macFromBytes(bytes.subarray(0, 6));
  const at = 14 + (bytes[14] & 15) * 4;
  const icmp = bytes[23] === 1 ? { icmpType: bytes[at], icmpCode: bytes[at + 1], mtu: view.getUint16(at + 6) } : {};
  return {
    to: replicas[mac] ?? mac,
    source: formatIp(ipFromBytes(bytes.slice(26, 30))),
    destination: formatIp(ipFromBytes(bytes.slice(30, 34))),
    ttl: bytes[22],
    ...(isGroup(bytes[30]) ? { df: (bytes[20] & 0x40) !== 0 } : {}),
    ...icmp,
  };
}

/** What comes out of the router for one packet: all that is before the sentinel, which is sent right after it. */
async function pass(packet) {
  arrived = [];
  inject(packet);
  inject({ side: 'wan', from: '10.77.1.1', to: sentinel, protocol: 'udp', sourcePort: 1, destinationPort: 1 });
  for (const end = Date.now() + 5000; Date.now() < end; ) {
    // The two cables are read by two threads: what is before the sentinel on one may be read after it on the other.
    if (arrived.some(({ to }) => to === sentinelMac)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return arrived.filter(({ to }) => to !== sentinelMac);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return 'the sentinel did not come';
}

/** By the first byte of the address. */
function isGroup(byte) {
  return byte >> 4 === 14;
}

function inject({ side = 'wan', ...packet }) {
  (side === 'wan' ? wanWire : lanWire).send(frame(packet, side === 'wan' ? routerMac : lanMac));
}
const lanMac = JSON.parse(execFileSync('ip', ['-json', 'link', 'show', 'lan'], { encoding: 'utf8' }))[0].address;

function frame(packet, mac) {
  const datagram = ipPacket(packet);
  const header = Buffer.alloc(14);
  const destination = ipFromBytes(datagram.subarray(16, 20));
  header.set(macBytes(isGroup(datagram[16]) ? multicastMac(destination) : mac), 0);
  header.set(macBytes(clientMac), 6);
  header.writeUInt16BE(0x0800, 12);
  return Buffer.concat([header, datagram]);
}

function ipPacket({ from, to = '10.77.0.100', ttl = 33, df = false, fragmentOffset = 0, ...rest }) {
  const payload = payloadOf(rest);
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header.writeUInt16BE((df ? 0x4000 : 0) | fragmentOffset, 6);
  header[8] = ttl;
  header[9] = { icmp: 1, tcp: 6, udp: 17 }[rest.protocol];
  header.set(ipBytes(parseIp(from).value), 12);
  header.set(ipBytes(parseIp(to).value), 16);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

/** UDP without a checksum; of TCP the router looks at nothing but ports and flags. */
function payloadOf({
  protocol,
  sourcePort = 40_000,
  destinationPort = 80,
  bytes = 20,
  icmpType = 8,
  flags = 0x10,
  about,
}) {
  const payload = Buffer.alloc(bytes);
  if (protocol === 'icmp') {
    const quoted = about ? ipPacket(about).subarray(0, 28) : Buffer.alloc(0);
    const message = Buffer.concat([Buffer.from([icmpType, icmpType === 3 ? 4 : 0, 0, 0, 0, 0, 5, 0]), quoted]);
    message.writeUInt16BE(checksum(message), 2);
    return message;
  }
  payload.writeUInt16BE(sourcePort, 0);
  payload.writeUInt16BE(destinationPort, 2);
  if (protocol === 'udp') payload.writeUInt16BE(bytes, 4);
  else payload.set([0x50, flags], 12);
  return payload;
}

/** RFC 1071. */
function checksum(bytes) {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const packetMsMax = 100;

/** Sends the frame over and over from another thread while the tables are applied so often, one after the other; how many packets came to each replica. */
async function flood({ packet, changes, tables }) {
  const counting = Object.entries(replicas).map(
    ([mac, name]) => `ether daddr ${mac} ip daddr 10.77.0.100 counter name ${name}`,
  );
  nft(`table netdev count {
${Object.values(replicas)
  .map((name) => `counter ${name} { }`)
  .join('\n')}
chain in { type filter hook ingress device "lanwire" priority 0; ${counting.join('; ')}; }
}`);
  const isOver = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL('edge-flood.mjs', import.meta.url), {
    workerData: { device: 'wanwire', frame: frame(packet, routerMac), isOver },
  });
  await once(worker, 'online');
  for (let i = 0; i < changes; i++) {
    plane.apply(tableOf(tables[i % tables.length]));
    // On a busy machine the other thread may have had no turn: each table is to see packets.
    Atomics.wait(isOver, 1, Atomics.load(isOver, 1), packetMsMax);
  }
  isOver[0] = 1;
  const [sent] = await once(worker, 'message');
  const { nftables } = JSON.parse(nft('list counters table netdev count'));
  nft('delete table netdev count');
  const counts = nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : []));
  return { sent, counts: Object.fromEntries(counts) };
}

/** Maps travel as lists. */
function tableOf({ services }) {
  return {
    services: services.map((each) => ({ ...each, owners: new Map(each.owners), tags: new Map(each.tags) })),
  };
}

function listOf({ services }) {
  return { services: services.map((each) => ({ ...each, owners: [...each.owners], tags: [...each.tags] })) };
}

const operations = {
  /** What was refused, which services stand, and which of `hops` packets go to. */
  apply({ hops = [], ...table }) {
    const { errors, services, reaches } = plane.apply(tableOf(table));
    return { errors: errors.map(({ message }) => message), services: [...services], reached: hops.map(reaches) };
  },
  adopt(table) {
    // As a process does that has just begun.
    plane = createEdgePlane({ nft, ip: runIp });
    return listOf(plane.adopt(tableOf(table).services));
  },
  repair: () => plane.repair(),
  counters: (name) => plane.counters(name),
  remove: () => plane.remove(),
  pass,
  flood,
  nft: (commands) => nft(commands),
  ip: ({ args, commands }) => runIp(args, commands),
};

const written = (_key, value) => (typeof value === 'bigint' ? `${value}n` : value);
const revive = (_key, value) =>
  typeof value === 'string' && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value;

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, argument } = JSON.parse(line, revive);
  try {
    const value = (await operations[operation](argument)) ?? null;
    process.stdout.write(`${JSON.stringify({ value }, written)}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: error.message })}\n`);
  }
}
await lanWire.close();
await wanWire.close();
