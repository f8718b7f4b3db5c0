// Runs inside a network namespace of its own, which is a router with the links `lan` and `dark`, and a replica with the device `web`. The other ends of their cables are `lanwire`,
// `darkwire`, which is down, and `webwire`. Reads one JSON request a line, answers one JSON line.
import { createInterface } from 'node:readline';
import pino from 'pino';
import { openJoins } from '../../dist/agent/joins.js';
import { addressOf, formatIp } from '../../dist/base/address.js';
import { macBytes, multicastMac } from '../../dist/base/mac.js';
import { createEdgePlane } from '../../dist/dataplane/edge-plane.js';
import { openAccess } from '../../dist/edge/access.js';
import { startEdge } from '../../dist/edge/edge.js';
import { runIp } from '../../dist/platform/ip-command.js';
import { openNftables } from '../../dist/platform/libnftables.js';
import { openLinkSubnets } from '../../dist/platform/link-addresses.js';
import { monotonicClock } from '../../dist/platform/monotonic-clock.js';
import { interfaceMac, openPacketSocket } from '../../dist/platform/packet-socket.js';
import { partitionOf } from '../../dist/space/partition.js';
import { decodeIgmp, encodeQuery, encodeReport } from '../../dist/wire/igmp.js';
import { decodeIgmpPacket, encodeIgmpPacket } from '../../dist/wire/igmp-packet.js';

const boundMs = 10_000;
const lines = [];
const log = pino({ base: null, timestamp: false }, { write: (line) => void lines.push(JSON.parse(line)) });
const addresses = { lan: '10.77.0.1', dark: '10.79.0.1', web: '10.78.0.21' };

/** `before`: what else is done to the device as soon as it is there. */
function cable(device, ...before) {
  return [
    `link add ${device} type veth peer name ${device}wire`,
    ...before,
    `address add ${addresses[device]}/24 dev ${device}`,
    `link set ${device} up`,
  ];
}
runIp(
  [],
  ['link set lo up', ...cable('lan'), ...cable('dark'), ...cable('web'), 'link set lanwire up', 'link set webwire up'],
);

/** What came out at the other end of a cable since `listen`. */
const heard = new Map();
const sockets = new Map();
let more = () => {};
async function listen(device) {
  await sockets.get(device)?.close();
  heard.set(device, []);
  const onFrame = (frame) => {
    const outer = decodeIgmpPacket(frame.subarray(14));
    const inner = outer.ok ? decodeIgmp(outer.value.message) : outer;
    if (!inner.ok) return;
    // What the kernel says of its own groups is no join.
    const type = inner.value.extension ? 'join' : inner.value.kind;
    heard.get(device).push({ type, source: formatIp(outer.value.source) });
    more();
  };
  sockets.set(device, openPacketSocket(`${device}wire`, 0x0800, onFrame));
}

/** Resolves once `get` gives something, which is looked at whenever something was heard, and ten times a second. */
async function until(what, get) {
  for (const end = Date.now() + boundMs; Date.now() < end; ) {
    const got = await get();
    if (got) return got;
    await new Promise((resolve) => {
      more = resolve;
      setTimeout(resolve, 100);
    });
  }
  throw new Error(`${what} did not come`);
}

function inject(device, destination, message) {
  const source = addressOf(addresses[device].replace(/\d+$/, '9'));
  const packet = encodeIgmpPacket({ source, destination: addressOf(destination), message });
  const macs = [multicastMac(addressOf(destination)), interfaceMac(`${device}wire`)].map(macBytes);
  sockets.get(device).send(Buffer.concat([...macs, Buffer.from([8, 0]), packet]));
}

const group = addressOf('239.77.0.10');
const service = {
  ...{ cluster: 'site1', access: { kind: 'public' }, routers: {}, delivery: 'router' },
  service: { name: 'web', address: '203.0.113.10', ports: ['80/tcp'], group: formatIp(group), partition: '0.0.0.255' },
};
let edge = null;
let looks = 0;
let joins = null;
let now = 0;
const subnets = openLinkSubnets(() => now);

const operations = {
  listen,
  async startEdge() {
    await listen('lan');
    const touches = {
      take() {
        looks++;
        return false;
      },
      touch() {},
    };
    edge = startEdge({
      ...{ links: ['lan', 'dark'], clients: [], touches, log },
      services: [{ config: service, access: openAccess({}, service, log) }],
      plane: createEdgePlane({ nft: openNftables(), ip: runIp }),
      ...{ onStanding() {}, onTagged() {} },
    });
  },
  startJoins() {
    const partition = partitionOf(addressOf('0.0.0.255')).value;
    joins = openJoins({ service: { group: '239.1.9.9' } }, { device: 'web', partition }, null, monotonicClock, log);
    joins.take({ epoch: 1, slots: [1] });
  },
  /** The source of the next message. */
  async next([device, type]) {
    const find = () => heard.get(device).findIndex((each) => each.type === type);
    await until(`a ${type} on ${device}`, () => find() >= 0);
    return heard.get(device).splice(find(), 1)[0].source;
  },
  /** Asks until it is answered. */
  answer(device) {
    const query = {
      ...{ group: null, maxResponseMs: 100, suppress: false, robustness: 2, intervalMs: 125_000 },
      sources: [],
    };
    return until(`an answer on ${device}`, () => {
      inject(device, '224.0.0.1', encodeQuery(query));
      return heard.get(device).find(({ type }) => type === 'join')?.source;
    });
  },
  /** Sends a report that is none until the router has counted one more. */
  report(device) {
    const before = edge.refused().get('malformed') ?? 0;
    return until(`a report on ${device}`, () => {
      inject(device, '224.0.0.22', new Uint8Array(8));
      return (edge.refused().get('malformed') ?? 0) > before;
    });
  },
  /** Until the router has looked after its links so many times more. */
  looks(count) {
    const end = looks + count;
    return until('another look', () => looks >= end);
  },
  said: () => lines.splice(0).map(({ msg }) => msg),
  /** As many joins to the public group with a filter that splits its slots; what the router says until it has told of all. */
  async unusable(count) {
    const filters = { permit: [{ value: addressOf('1.0.0.0'), mask: addressOf('255.0.0.0') }], prohibit: [] };
    for (let i = 0; i < count; i++) inject('lan', '224.0.0.22', encodeReport('to-exclude', group, filters).value);
    const told = () => lines.reduce((sum, { joins = 1 }) => sum + joins, 0);
    await until('word of every join', () => told() >= count);
    return lines.splice(0).map(({ msg }) => msg);
  },
  ip: (commands) => runIp([], commands),
  /** The device and its cable go, and others come, with the address of a group before its own. */
  makeAnew(device) {
    const first = `address add 239.1.9.9/32 dev ${device} autojoin`;
    runIp([], [`link delete ${device}`, ...cable(device, first), `link set ${device}wire up`]);
    return listen(device);
  },
  isOnLink([atMs, link, address]) {
    now = atMs;
    return subnets.isOnLink(link, addressOf(address));
  },
  forget: () => subnets.forget(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, argument } = JSON.parse(line);
  try {
    const value = (await operations[operation](argument)) ?? null;
    process.stdout.write(`${JSON.stringify({ value })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: error.message })}\n`);
  }
}
await Promise.all([edge?.stop(), joins?.close(), ...[...sockets.values()].map((socket) => socket.close())]);
