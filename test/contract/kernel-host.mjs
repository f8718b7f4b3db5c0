// Runs inside a network namespace of its own: a real nftables data plane on eth0, and packets injected at the other end of its cable.
// Reads one JSON request a line, answers one JSON line.
import { execFileSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { formatIp, ipBytes, parseIp } from '../../dist/base/address.js';
import { macBytes, macFromBytes } from '../../dist/base/mac.js';
import { holdDeviceOf, localMark } from '../../dist/dataplane/forwarding-table.js';
import { letGoPriority } from '../../dist/dataplane/held-resets.js';
import { createNftDataPlane } from '../../dist/dataplane/nft.js';
import { udpFlowsOf } from '../../dist/dataplane/staying.js';
import { openNftables } from '../../dist/platform/libnftables.js';
import { openElementChanges } from '../../dist/platform/nft-element-changes.js';
import { readSetElements } from '../../dist/platform/nft-set-elements.js';
import { openPacketSocket } from '../../dist/platform/packet-socket.js';
import { openRawIp } from '../../dist/platform/raw-ip.js';

const protocols = { icmp: 1, tcp: 6, udp: 17 };
const groupMac = '01:00:5e:4d:00:01';
const ownMac = '02:00:00:00:00:0b';
const serviceAddress = '10.77.0.100';
const written = (_key, value) => (typeof value === 'bigint' ? `${value}n` : value);
const revive = (_key, value) =>
  typeof value === 'string' && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value;

execFileSync('ip', ['-batch', '-'], {
  input: `link set lo up
link add eth0 type veth peer name cable
link set eth0 address ${ownMac}
link set cable up
link set eth0 up
link add mch-web type veth peer name shelf
link set shelf up
link set mch-web up
address add 10.77.0.11/16 dev eth0
address add ${serviceAddress}/32 dev lo
`,
});
const run = openNftables();
let index = 2;
const nftables = {
  run,
  readSet: readSetElements,
  changeElements: openElementChanges(),
  // As of a device that stays, until a test says that it was made anew.
  deviceIndex: () => index,
};
/** What came out of eth0 last: frames that were relayed, and resets. */
let left = [];
const cable = openPacketSocket('cable', 0x0800, (frame) => {
  if (frame.subarray(6, 12).every((byte, i) => byte === macBytes(ownMac)[i])) left.push(Buffer.from(frame));
});
/** What leaves after everything else. */
const last = Buffer.alloc(60);
last.set(macBytes('02:00:00:00:00:63'), 0);
last.set(macBytes(ownMac), 6);
last.writeUInt16BE(0x0800, 12);
const outlet = openPacketSocket('eth0', 0x88b5, () => {});
/** What came out of the hold device last. */
let held = [];
const agent = openRawIp(letGoPriority.major * 0x10000 + letGoPriority.minor);
const shelf = openPacketSocket('shelf', 0x0800, (frame) => held.push(Buffer.from(frame)));
const service = parseIp(serviceAddress).value;
let plane = null;
let lastService = null;
let planeName = '';
let delivery = 'segment';
installProbe();

/** Counts what reaches the IP layer, as the host's own or otherwise, behind every table under test. */
function installProbe() {
  const asOwn = delivery === 'router' ? `meta mark ${localMark}` : 'meta pkttype host';
  run(`add table ip probe
delete table ip probe
table ip probe {
  counter host { }
  counter other { }
  chain arrived {
    type filter hook prerouting priority -300; policy accept;
    iifname "eth0" ip ttl { 1, 33 } ${asOwn} counter name host drop
    iifname "eth0" ip ttl { 1, 33 } counter name other drop
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
  const none = { accepted: 0, relayed: 0, dropped: 0, resetsWithheld: 0, resetsAsked: 0, held: 0 };
  return plane ? await plane.counters().catch(() => none) : none;
}

async function judge(packet) {
  const before = { ...probed(), ...(await counters()) };
  const names = Object.keys(before);
  left = [];
  held = [];
  const sent = frame(packet);
  cable.send(sent);
  for (const end = Date.now() + 5000; Date.now() < end; ) {
    const after = { ...probed(), ...(await counters()) };
    const moved = names
      .filter((name) => after[name] - before[name] === 1)
      .sort()
      .join();
    if (moved === 'dropped') return 'drop';
    if (moved === 'accepted,host') return 'local';
    if (moved === 'host' || moved === 'other') return 'pass';
    if (moved === 'relayed' && left.length > 0) return relayVerdict(sent, left[0]);
    // The very frame that came, if there is somewhere to hold it.
    if (moved === 'held' && !hasHoldDevice()) return 'drop';
    if (moved === 'held' && held.length > 0) return held[0].equals(sent) ? 'hold' : 'held wrongly';
    if (names.some((name) => after[name] - before[name] > 1)) break;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return `no verdict: ${JSON.stringify({ before, after: { ...probed(), ...(await counters()) } })}`;
}

/** A relayed frame has the peer's link address and this host's own, and is otherwise what came. */
function relayVerdict(sent, relayed) {
  const same = relayed.subarray(12).equals(sentOn(sent).subarray(12));
  return same && macFromBytes(relayed.subarray(0, 6)) === '02:00:00:00:00:0c' ? 'relay' : 'relayed wrongly';
}

/** In `router` delivery the time to live says that a frame was sent on. */
function sentOn(frame) {
  if (delivery !== 'router') return frame;
  const marked = Buffer.from(frame);
  marked[14 + 8] = 1;
  marked.writeUInt16BE(0, 14 + 10);
  marked.writeUInt16BE(checksum(marked.subarray(14, 34)), 14 + 10);
  return marked;
}

/** The frames that leave because one came, each as that one was but for what says that it was sent on. */
async function copiesOf(packet) {
  await allLeft();
  await judge(packet);
  const copies = await allLeft();
  const expected = sentOn(frame(packet)).subarray(12);
  const macOf = (each) => macFromBytes(each.subarray(0, 6));
  return copies.map((each) => (each.subarray(12).equals(expected) ? macOf(each) : `${macOf(each)}, changed`)).sort();
}

/** What has left, once nothing is on its way any more. */
async function allLeft() {
  left = left.filter((each) => each[5] !== 0x63);
  outlet.send(last);
  for (const end = Date.now() + 5000; !left.some((each) => each[5] === 0x63); ) {
    if (Date.now() > end) throw new Error('nothing leaves any more');
    await new Promise((resolve) => setImmediate(resolve));
  }
  return left.filter((each) => each[5] !== 0x63);
}

function hasHoldDevice() {
  const links = JSON.parse(execFileSync('ip', ['-json', 'link'], { encoding: 'utf8' }));
  return links.some((link) => link.ifname === holdDeviceOf(lastService));
}

/** The kernel answers segments of connections it does not know with resets. */
async function judgeResets({ client, count }) {
  execFileSync('ip', ['neighbour', 'replace', formatIp(client), 'lladdr', cable.mac, 'dev', 'eth0']);
  const stray = frame({ source: client, destination: service, protocol: 'tcp', destinationPort: 80, opens: false }, 64);
  return resetsAfter(count, () => {
    for (let i = 0; i < count; i++) cable.send(stray);
  });
}

/** Whether a reset leaves that the agent lets go. */
async function letsGo(client) {
  const bytes = Buffer.from(frame({ source: service, destination: client, protocol: 'tcp' }, 64).subarray(14));
  bytes[20 + 13] = 0x04;
  const [verdict] = await resetsAfter(1, () => agent.send(bytes));
  return verdict === 'leaves';
}

async function resetsAfter(count, send) {
  const before = await counters();
  left = [];
  send();
  for (const end = Date.now() + 5000; Date.now() < end; ) {
    const { resetsWithheld, resetsAsked } = await counters();
    const of = (verdict, times) => Array(times).fill(verdict);
    const verdicts = [
      ...of('leaves', left.filter((each) => each[23] === 6 && each[14 + 20 + 13] === 0x04).length),
      ...of('withheld', resetsWithheld - before.resetsWithheld),
      ...of('asked', resetsAsked - before.resetsAsked),
    ];
    if (verdicts.length >= count) return verdicts;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return ['nothing came of it'];
}

function frame(
  {
    source,
    destination,
    protocol,
    sourcePort = 40_000,
    destinationPort = 0,
    opens = false,
    icmpType = 0,
    fragmentOffset = 0,
    about,
    relayedBy,
  },
  ttl = relayedBy && delivery === 'router' ? 1 : 33,
) {
  const bytes = Buffer.alloc(14 + 20 + (about ? 28 : 20));
  bytes.set(macBytes(relayedBy || delivery === 'router' ? ownMac : groupMac), 0);
  bytes.set(macBytes(relayedBy ?? cable.mac), 6);
  bytes.writeUInt16BE(0x0800, 12);
  const header = bytes.subarray(14, 34);
  header[0] = 0x45;
  header.writeUInt16BE(bytes.length - 14, 2);
  header.writeUInt16BE(fragmentOffset, 6);
  header[8] = ttl;
  header[9] = protocols[protocol];
  header.set(ipBytes(source), 12);
  header.set(ipBytes(destination), 16);
  header.writeUInt16BE(checksum(header), 10);
  const segment = bytes.subarray(34);
  if (protocol === 'icmp') {
    segment[0] = icmpType;
    // The quoted header's destination.
    if (about) segment.set(ipBytes(about), 8 + 16);
  }
  if (protocol !== 'icmp') {
    segment.writeUInt16BE(sourcePort, 0);
    segment.writeUInt16BE(destinationPort, 2);
  }
  if (protocol === 'tcp') {
    segment.set([0x50, opens ? 0x02 : 0x10], 12);
    segment.writeUInt16BE(checksum(Buffer.concat([header.subarray(12, 20), Buffer.from([0, 6, 0, 20]), segment])), 16);
  }
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
  async apply({ service, rows, kept, foreign, shut }) {
    const name = JSON.stringify([service.partition.bits, service.udpIdleMs, service.delivery]);
    if (planeName !== name) plane = createNftDataPlane(nftables, service);
    planeName = name;
    lastService = service;
    if (delivery !== (service.delivery ?? 'segment')) {
      delivery = service.delivery ?? 'segment';
      installProbe();
    }
    await plane.apply({
      service,
      rows: new Map(rows),
      staying: { kept: udpFlowsOf(kept), foreign: udpFlowsOf(foreign), shut: new Set(shut) },
    });
  },
  arm: ({ fence, mark, ms }) => plane.arm(fence, mark, ms),
  grant: ({ fence, mark }) => plane.grant(fence, mark),
  divert: (changes) => (plane ?? createNftDataPlane(nftables, lastService)).divert(changes),
  async adopt() {
    // As a process does that has just begun.
    const adopted = await createNftDataPlane(nftables, lastService).adopt();
    if (adopted) plane = createNftDataPlane(nftables, lastService);
    await plane?.adopt();
    if (!adopted) return null;
    const { kept, foreign, shut } = adopted.staying;
    return { rows: [...adopted.rows], kept: [...kept.values()], foreign: [...foreign.values()], shut: [...shut] };
  },
  seen: () => plane.seen(),
  judge,
  copiesOf,
  judgeResets,
  letsGo,
  counters,
  async remove() {
    await plane?.remove();
    plane = null;
    planeName = '';
  },
  runIp: ({ words }) => void execFileSync('ip', words),
  runByOthers: ({ commands }) => void run(commands),
  async flushByOthers() {
    run('flush ruleset');
    installProbe();
  },
  async renumber() {
    index++;
  },
  repair: () => plane.repair(true),
  glance: () => plane.repair(false),
  async ruleset() {
    return JSON.parse(run('list ruleset')).nftables.flatMap((each) => (each.table ? [each.table.name] : []));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, argument } = JSON.parse(line, revive);
  try {
    const value = (await operations[operation](argument)) ?? null;
    process.stdout.write(`${JSON.stringify({ value }, written)}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: error.message })}\n`);
  }
}
await cable.close();
await outlet.close();
await shelf.close();
agent.close();
