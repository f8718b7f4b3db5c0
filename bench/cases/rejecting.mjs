// What the packets of others cost: on a segment every replica gets all packets for the service and drops those of slots that are not its own. SYNs for the service come from clients of foreign slots to a veth device
// with the product's real rule set, where a third of all slots are own, for 16 to 65,536 slots. Beside it, on devices of their own: a single rule that drops by link address, the cheapest that nftables can do; a
// single hand-written rule that shares by `jhash ip saddr mod 3`, as one would without manycast (it looks for a remainder that no packet has, so that it drops all); a classic BPF program of tc(8), which decides
// before any rule whether a packet is for the service and of a slot above a third, and stands for what a filter of bits in front of the rules could bring; and no rule at all, where the
// service address is on the loopback device and TCP ignores what came to a multicast address.
// Two figures. First the sender is bound to one core, and packets are steered to another (RPS), where there are two: packets that core's soft interrupts were done with, by their time in /proc/stat, which counts neither sending
// nor idling; the kernel samples that time at each tick, so a round is good to some ten percent. Then the same core sends them all: how long it takes to send and reject one, by the clock, which is good to a few percent, but
// only the differences between ways are those of rejecting. Left out: the driver of a real network card, which has its own cost for each packet, whatever becomes of it.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { createNftDataPlane } from '../../dist/dataplane/nft.js';
import { openNftables } from '../../dist/platform/libnftables.js';
import { readSetElements } from '../../dist/platform/nft-set-elements.js';
import { partitionOf } from '../../dist/space/index.js';
import { run } from '../commands.mjs';
import { ticksPerSecond } from '../machine.mjs';
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
/** With more of others' packets than this, their time spoils the figure. */
const othersMax = 0.05;
const floodProgram = fileURLToPath(new URL('../frame-flood.mjs', import.meta.url));
const cores = availableParallelism() > 1 ? { sender: 0, receiver: 1 } : { sender: 0, receiver: 0 };
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
        makeCable(device, notes);
        ready.push({ ...target, device, dataPlane: await target.rules(device) });
      } catch (error) {
        removeCable(device);
        notes.push(`${target.name}: left out: ${error.message}`);
      }
    }
    const seconds = quick ? 1 : 3;
    const measured = async (target) => ({ ...(await flooded(target, seconds)), ...(await sentToItself(target)) });
    const ways = Object.fromEntries(ready.map((target) => [target.name, () => measured(target)]));
    const results = await interleaved(ways, quick ? 3 : 7, say);
    const others = Math.max(...Object.values(results).flatMap((rounds) => rounds.map((round) => round.others)));
    if (others > othersMax)
      notes.push(`Not to be relied on: up to ${Math.round(others * 100)} % of the packets were others'.`);
    return { ...reportOf(results), notes: [...new Set(notes)] };
  } finally {
    for (const { device, dataPlane } of ready) {
      await dataPlane?.remove();
      removeCable(device);
    }
    execFileSync('ip', ['address', 'delete', `${address}/32`, 'dev', 'lo']);
  }
}

function reportOf(results) {
  const rates = Object.entries(results).map(([name, rounds]) => [name, rounds.map(({ rate }) => rate)]);
  const product = rates.filter(([name]) => name.startsWith('manycast'));
  const ratio = (over, what, of) =>
    results[over]
      ? product.map(([name]) => ({
          name: `${name} / ${over}: ${what}`,
          values: results[name].map((round, i) => of(round) / of(results[over][i])),
        }))
      : [];
  const packets = (over) => ratio(over, 'packets', ({ rate }) => rate);
  const whole = (over) => ratio(over, 'time to send and reject', ({ wholeNs }) => wholeNs);
  return {
    metrics: Object.entries(results).flatMap(([name, rounds]) => [
      { name, metric: 'packets per second of one core', unit: '1/s', values: rounds.map(({ rate }) => rate) },
      { name, metric: 'time of a packet', unit: 'ns', values: rounds.map(({ rate }) => 1e9 / rate) },
      { name, metric: 'came', unit: '1/s', values: rounds.map(({ came }) => came) },
      { name, metric: 'sent and rejected by one core', unit: 'ns', values: rounds.map(({ wholeNs }) => wholeNs) },
    ]),
    ratios: [...packets(cheapest), ...packets(hashed), ...whole(cheapest), ...whole(filtered)],
    plots: [
      {
        ...{ file: 'rejecting.svg', title: 'Packets of others that one core rejects in a second', unit: 'packets/s' },
        bars: rates.map(([label, values]) => ({ label, ...spread(values) })),
      },
    ],
  };
}

/** What came in a flood, a second; what one core would be done with in a second; and which part of all that the core took from networks was not of the flood. */
async function flooded({ name, device, bits = 8, dataPlane }, seconds) {
  const before = { ...seenBy(cores.receiver), rejected: await dataPlane?.counters() };
  const sent = await flood(device, bits, seconds, cores.sender);
  const after = { ...seenBy(cores.receiver), rejected: await dataPlane?.counters() };
  const all = (after.packets - before.packets) >>> 0;
  const packets = Math.min(all, sent - ((after.overflowed - before.overflowed) >>> 0));
  const ticks = after.ticks - before.ticks;
  if (ticks === 0 || packets <= 0)
    throw new Error(`${name}: ${sent} packets were sent, and core ${cores.receiver} was not seen to do anything`);
  if (dataPlane) {
    const rejected = after.rejected.dropped - before.rejected.dropped;
    if (rejected < packets * 0.9) throw new Error(`${name}: of ${packets} packets only ${rejected} were rejected`);
  }
  return { rate: (packets * ticksPerSecond) / ticks, came: packets / seconds, others: 1 - packets / all };
}

/** How long the core that is steered to takes for a packet that it sends itself, in ns. */
async function sentToItself({ device, bits = 8 }) {
  return { wholeNs: 1e9 / (await flood(device, bits, 1, cores.receiver)) };
}

/** @returns {Promise<number>} packets that were sent */
async function flood(device, bits, seconds, core) {
  const job = { device: peerOf(device), seconds, destinationMac, address, port, sources: foreignSources(bits) };
  const argv = ['taskset', '-c', `${core}`, process.execPath, floodProgram, JSON.stringify(job)];
  return JSON.parse(await run(argv)).sent;
}

/**
 * Since the machine started: packets that a core has taken from networks, those that found its queue full, and the time of its soft interrupts. Of all networks: others' traffic counts too.
 */
function seenBy(core) {
  const softnet = readFileSync('/proc/net/softnet_stat', 'utf8').trim().split('\n');
  const [packets, overflowed] = softnet[core].split(' ').map((each) => Number.parseInt(each, 16));
  const line = readFileSync('/proc/stat', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`cpu${core} `));
  return { packets, overflowed, ticks: Number(line.split(' ')[7]) };
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
  const dataPlane = createNftDataPlane({ run: runNft, readSet: readSetElements }, service);
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

function makeCable(device, notes) {
  execFileSync('ip', ['link', 'add', device, 'type', 'veth', 'peer', 'name', peerOf(device)]);
  for (const end of [device, peerOf(device)]) {
    execFileSync('sysctl', ['-qw', `net.ipv6.conf.${end}.disable_ipv6=1`, `net.ipv4.conf.${end}.rp_filter=0`]);
    execFileSync('ip', ['link', 'set', end, 'up']);
  }
  // /sys shows the devices of the network that mounted it.
  const steer = `mount -t sysfs sysfs /sys && echo ${(1 << cores.receiver).toString(16)} > /sys/class/net/${device}/queues/rx-0/rps_cpus`;
  try {
    execFileSync('unshare', ['--mount', 'sh', '-c', steer], { stdio: 'pipe' });
  } catch {
    // Then packets are taken from the network where they are sent, and counted there.
    cores.receiver = cores.sender;
    notes.push('This kernel cannot steer packets to another core: sender and receiver shared one.');
  }
}

function removeCable(device) {
  try {
    execFileSync('ip', ['link', 'delete', device], { stdio: 'pipe' });
  } catch {
    // Not made.
  }
}

function peerOf(device) {
  return `ft${device.slice(2)}`;
}
