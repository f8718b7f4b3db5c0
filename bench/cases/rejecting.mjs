// What the packets of others cost: on a segment every replica gets all packets for the service and drops those of slots that are not its own. SYNs for the service come from clients of foreign slots to a veth device
// with the product's real rule set, where a third of all slots are own, for 16 to 65,536 slots. Beside it, on devices of their own: a single rule that drops by link address, the cheapest that nftables can do; a
// single hand-written rule that shares by `jhash ip saddr mod 3`, as one would without manycast (it looks for a remainder that no packet has, so that it drops all); a classic BPF program of tc(8), which decides
// before any rule whether a packet is for the service and of a slot above a third, and stands for what a filter of bits in front of the rules could bring; and no rule at all, where the
// service address is on the loopback device and TCP ignores what came to a multicast address.
// One core sends the packets and rejects them, by the clock. What sending alone takes is measured in the same rounds, into a device that throws everything away; the rest is the crossing of the veth device, the soft
// interrupt and the rejecting. A network card hands over many packets in one interrupt, where here each has its own: so a core rejects at least as many as this says. Left out: the driver of that card.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createNftDataPlane } from '../../dist/dataplane/nft.js';
import { openNftables } from '../../dist/platform/libnftables.js';
import { readSetElements } from '../../dist/platform/nft-set-elements.js';
import { partitionOf } from '../../dist/space/index.js';
import { run } from '../commands.mjs';
import { interleaved } from '../rounds.mjs';
import { spread } from '../statistics.mjs';

export const title = 'Rejecting the packets of others';
export const programs = ['util-linux'];

const address = '10.77.0.100';
const addressValue = 0x0a4d_0064n;
const destinationMac = '01:00:5e:4d:00:64';
const port = 80;
const slotBits = [4, 8, 12, 16];
const sourcesMax = 1024;
/** Of what was sent, this may be lost before any rule sees it, or be somebody else's. */
const strayMax = 0.05;
const floodProgram = fileURLToPath(new URL('../frame-flood.mjs', import.meta.url));
/** Sends and rejects. */
const core = 0;
const sink = 'sent, and thrown away by the device';
const nothing = 'no rule';
const cheapest = 'one rule: drop by link address';
const hashed = 'one rule: drop by hash of the source';
const filtered = 'tc, no rule: drop by bits of the source';
const grouped = (count) => count.toLocaleString('en');

/** @param {{ quick: boolean, say: (text: string) => void }} options */
export async function measure({ quick, say }) {
  const runNft = openNftables();
  const notes = [];
  const targets = [
    { name: sink, make: makeSink, rules: () => {} },
    { name: nothing, rules: () => {} },
    { name: cheapest, rules: (device) => void runNft(dropRule(device, `ether daddr ${destinationMac}`)) },
    {
      name: hashed,
      rules: (device) => void runNft(dropRule(device, `ip daddr ${address} jhash ip saddr mod 3 seed 1 offset 1 != 0`)),
    },
    { name: filtered, rules: filterBySource },
    ...slotBits.map((bits) => ({
      ...{ name: `manycast, ${grouped(2 ** bits)} slots`, bits },
      rules: (device) => install(runNft, device, bits),
    })),
  ];
  execFileSync('ip', ['address', 'add', `${address}/32`, 'dev', 'lo']);
  const ready = [];
  try {
    for (const target of targets) {
      const device = `fr${ready.length}`;
      try {
        (target.make ?? makeCable)(device);
        ready.push({ ...target, device, dataPlane: await target.rules(device) });
      } catch (error) {
        removeCable(device);
        notes.push(`${target.name}: left out: ${error.message}`);
      }
    }
    const seconds = quick ? 1 : 2;
    const ways = Object.fromEntries(ready.map((target) => [target.name, () => rejected(target, seconds)]));
    return { ...reportOf(await interleaved(ways, quick ? 3 : 7, say)), notes };
  } finally {
    for (const { device, dataPlane } of ready) {
      await dataPlane?.remove();
      removeCable(device);
    }
    execFileSync('ip', ['address', 'delete', `${address}/32`, 'dev', 'lo']);
  }
}

/** @param {Record<string, number[]>} times ns for a packet, of each way in each round */
function reportOf({ [sink]: alone, ...times }) {
  const product = Object.keys(times).filter((name) => name.startsWith('manycast'));
  const beyond = (name) => times[name].map((ns, round) => ns - alone[round]);
  const rates = (name) => beyond(name).map((ns) => 1e9 / ns);
  const ratios = (other, what, of) =>
    times[other]
      ? product.map((name) => ({
          name: `${name} / ${other}: ${what}`,
          values: of(name).map((value, round) => value / of(other)[round]),
        }))
      : [];
  const compared = [cheapest, hashed, filtered];
  const metric = (name, what, unit, values) => ({ name, metric: what, unit, values });
  return {
    metrics: [
      metric(sink, 'sent and rejected', 'ns a packet', alone),
      ...Object.keys(times).flatMap((name) => [
        metric(name, 'sent and rejected', 'ns a packet', times[name]),
        metric(name, 'of that beyond sending', 'ns a packet', beyond(name)),
        metric(name, 'rejected by one core, beyond sending', 'packets/s', rates(name)),
      ]),
    ],
    ratios: [
      ...compared.flatMap((other) => ratios(other, 'time beyond sending', beyond)),
      ...compared.flatMap((other) => ratios(other, 'time to send and reject', (name) => times[name])),
    ],
    plots: [
      {
        ...{
          file: 'rejecting.svg',
          title: 'Packets of others that one core rejects in a second, at least',
          unit: 'packets/s',
        },
        bars: Object.keys(times).map((label) => ({ label, ...spread(rates(label)) })),
      },
    ],
  };
}

/** Time of a packet that is sent and rejected, in ns. */
async function rejected({ name, device, bits = 8, dataPlane }, seconds) {
  const before = { taken: packetsTaken(), rejected: await dataPlane?.counters() };
  const sent = await flood(device, bits, seconds);
  const after = { taken: packetsTaken(), rejected: await dataPlane?.counters() };
  const came = (after.taken - before.taken) >>> 0;
  if (name !== sink && Math.abs(came - sent) > sent * strayMax)
    throw new Error(`${name}: ${sent} packets were sent, and core ${core} has taken ${came}: is something else busy?`);
  if (dataPlane) {
    const dropped = after.rejected.dropped - before.rejected.dropped;
    if (dropped < sent * (1 - strayMax)) throw new Error(`${name}: of ${sent} packets only ${dropped} were rejected`);
  }
  return (1e9 * seconds) / sent;
}

/** @returns {Promise<number>} packets that were sent */
async function flood(device, bits, seconds) {
  const job = { device: peerOf(device), seconds, destinationMac, address, port, sources: foreignSources(bits) };
  const argv = ['taskset', '-c', `${core}`, process.execPath, floodProgram, JSON.stringify(job)];
  return JSON.parse(await run(argv)).sent;
}

/** By the core, from all networks since the machine started; those not counted that found its queue full. */
function packetsTaken() {
  const softnet = readFileSync('/proc/net/softnet_stat', 'utf8').trim().split('\n');
  return Number.parseInt(softnet[core].split(' ')[0], 16);
}

/** Clients of the last two thirds of all slots, as many as one call sends, spread evenly. */
function foreignSources(bits) {
  const slots = 2 ** bits;
  const first = Math.ceil(slots / 3);
  const base = 0xc633_0000;
  return Array.from(
    { length: Math.min(sourcesMax, slots * 16) },
    (_, i) => base + first + ((i * Math.max(1, Math.floor((slots - first) / sourcesMax))) % (slots - first)),
  );
}

/** The product's own rules for a replica that has the first third of all slots, with its lease. */
async function install(runNft, device, bits) {
  const partition = partitionOf({ family: 4, value: (1n << BigInt(bits)) - 1n }).value;
  const service = {
    ...{ name: `b${bits}`, address: { family: 4, value: addressValue }, ports: [{ protocol: 'tcp', port }], partition },
    ...{ device, ownMac: '02:00:00:00:00:01', groupMac: destinationMac },
  };
  const dataPlane = createNftDataPlane({ run: runNft, readSet: readSetElements, deviceIndex: () => null }, service);
  const own = Array.from({ length: Math.ceil(partition.slotCount / 3) }, (_, slot) => [
    slot,
    { kind: 'own', peer: null },
  ]);
  await dataPlane.apply({ service, rows: new Map(own) });
  return dataPlane;
}

/** Classic BPF of tc(8): jumps skip that many instructions; 2 is TC_ACT_SHOT, and all ones go on to the rules. */
function filterBySource(device) {
  const slots = 2 ** 8;
  const program = [
    [0x28, 0, 0, 12], // half-word: EtherType
    [0x15, 0, 6, 0x0800],
    [0x20, 0, 0, 30], // word: destination
    [0x15, 0, 4, Number(addressValue)],
    [0x20, 0, 0, 26], // word: source
    [0x54, 0, 0, slots - 1],
    [0x35, 0, 1, Math.ceil(slots / 3)],
    [0x06, 0, 0, 2],
    [0x06, 0, 0, 0xffff_ffff],
  ];
  const text = `${program.length},${program.map((each) => each.join(' ')).join(',')}`;
  execFileSync('tc', ['qdisc', 'add', 'dev', device, 'clsact'], { stdio: 'pipe' });
  execFileSync('tc', ['filter', 'add', 'dev', device, 'ingress', 'bpf', 'direct-action', 'bytecode', text], {
    stdio: 'pipe',
  });
}

function dropRule(device, match) {
  return `add table netdev ${device}
add chain netdev ${device} ingress { type filter hook ingress device ${device} priority 0; }
add rule netdev ${device} ingress ${match} drop`;
}

function makeCable(device) {
  execFileSync('ip', ['link', 'add', device, 'type', 'veth', 'peer', 'name', peerOf(device)]);
  for (const end of [device, peerOf(device)]) {
    execFileSync('sysctl', ['-qw', `net.ipv6.conf.${end}.disable_ipv6=1`, `net.ipv4.conf.${end}.rp_filter=0`]);
    execFileSync('ip', ['link', 'set', end, 'up']);
  }
}

/** What is sent by it ends there; kernels have one kind or the other. */
function makeSink(device) {
  try {
    execFileSync('ip', ['link', 'add', peerOf(device), 'type', 'dummy'], { stdio: 'pipe' });
  } catch {
    execFileSync('ip', ['link', 'add', peerOf(device), 'type', 'ifb'], { stdio: 'pipe' });
  }
  execFileSync('ip', ['link', 'set', peerOf(device), 'up']);
}

function removeCable(device) {
  try {
    execFileSync('ip', ['link', 'delete', peerOf(device)], { stdio: 'pipe' });
  } catch {
    // Not made.
  }
}

function peerOf(device) {
  return `ft${device.slice(2)}`;
}
