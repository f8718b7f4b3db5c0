// Runs inside a network namespace of its own: a real nftables data plane on eth0, and packets injected at the other end of its cable.
// Reads one JSON request a line, answers one JSON line.
import { execFileSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { ipBytes } from '../../dist/base/address.js';
import { macBytes } from '../../dist/base/mac.js';
import { createNftDataPlane } from '../../dist/dataplane/nft.js';
import { openNftables } from '../../dist/platform/libnftables.js';
import { openPacketSocket } from '../../dist/platform/packet-socket.js';

const protocols = { icmp: 1, tcp: 6, udp: 17 };
const groupMac = '01:00:5e:4d:00:01';
const revive = (_key, value) =>
  typeof value === 'string' && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value;

execFileSync('ip', ['-batch', '-'], {
  input: `link set lo up
link add eth0 type veth peer name cable
link set cable up
link set eth0 up
`,
});
const run = openNftables();
const cable = openPacketSocket('cable', 0x0800, () => {});
let plane = null;
let planeName = '';
installProbe();

/** Counts what reaches the IP layer, as the host's own or otherwise, behind every table under test. */
function installProbe() {
  run(`add table ip probe
delete table ip probe
table ip probe {
  counter host { }
  counter other { }
  chain arrived {
    type filter hook prerouting priority -300; policy accept;
    iifname "eth0" ip ttl 33 meta pkttype host counter name host drop
    iifname "eth0" ip ttl 33 counter name other drop
  }
}`);
}

function probed() {
  const { nftables } = JSON.parse(run('list counters table ip probe'));
  const packets = (name) => nftables.find((each) => each.counter?.name === name).counter.packets;
  return { host: packets('host'), other: packets('other') };
}

/** A table that is not there has counted nothing. */
async function counters() {
  const none = { accepted: 0, dropped: 0 };
  return plane ? await plane.counters().catch(() => none) : none;
}

async function judge(packet) {
  const before = { ...probed(), ...(await counters()) };
  cable.send(frame(packet));
  for (const end = Date.now() + 5000; Date.now() < end; ) {
    const after = { ...probed(), ...(await counters()) };
    const moved = (name) => after[name] - before[name];
    if (moved('dropped') === 1 && moved('host') + moved('other') + moved('accepted') === 0) return 'drop';
    if (moved('host') === 1 && moved('accepted') === 1) return 'local';
    if (moved('host') + moved('other') === 1 && moved('accepted') + moved('dropped') === 0) return 'pass';
    if (moved('host') + moved('other') + moved('accepted') + moved('dropped') > 2) break;
  }
  return `no verdict: ${JSON.stringify({ before, after: { ...probed(), ...(await counters()) } })}`;
}

function frame({ source, destination, protocol, destinationPort = 0, icmpType = 0, fragmentOffset = 0 }) {
  const bytes = Buffer.alloc(14 + 20 + 20);
  bytes.set(macBytes(groupMac), 0);
  bytes.set(macBytes(cable.mac), 6);
  bytes.writeUInt16BE(0x0800, 12);
  const header = bytes.subarray(14, 34);
  header[0] = 0x45;
  header.writeUInt16BE(40, 2);
  header.writeUInt16BE(fragmentOffset, 6);
  header[8] = 33;
  header[9] = protocols[protocol];
  header.set(ipBytes(source), 12);
  header.set(ipBytes(destination), 16);
  header.writeUInt16BE(checksum(header), 10);
  if (protocol === 'icmp') bytes[34] = icmpType;
  else bytes.writeUInt16BE(destinationPort, 36);
  if (protocol === 'tcp') bytes.set([0x50, 0x02], 46);
  return bytes;
}

/** RFC 1071. */
function checksum(bytes) {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const operations = {
  async apply({ service, rows }) {
    if (planeName !== JSON.stringify(service.partition.bits)) plane = createNftDataPlane(run, service);
    planeName = JSON.stringify(service.partition.bits);
    await plane.apply({ service, rows: new Map(rows) });
  },
  arm: ({ mark, leaseMs }) => plane.arm(mark, leaseMs),
  grant: ({ mark }) => plane.grant(mark),
  judge,
  counters,
  async remove() {
    await plane?.remove();
    plane = null;
    planeName = '';
  },
  async flushByOthers() {
    run('flush ruleset');
    installProbe();
  },
  repair: () => plane.repair(),
  async ruleset() {
    return JSON.parse(run('list ruleset')).nftables.flatMap((each) => (each.table ? [each.table.name] : []));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, argument } = JSON.parse(line, revive);
  try {
    process.stdout.write(`${JSON.stringify({ value: (await operations[operation](argument)) ?? null })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: error.message })}\n`);
  }
}
await cable.close();
