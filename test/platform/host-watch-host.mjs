// Runs inside namespaces of its own, as "host-watch-host.mjs STEPS": does these steps as an agent and as other programs do, and tells what
// the watch and the repair made of them, as one line of JSON.
import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openNftables } from '../../dist/platform/libnftables.js';
import { createLinuxHost } from '../../dist/platform/linux-host.js';
import { openKernelEvents } from '../../dist/platform/netlink-events.js';
import { openPacketSocket } from '../../dist/platform/packet-socket.js';
import { internetChecksum, writeChecksum } from '../../dist/wire/igmp-packet.js';

const boundMs = 10_000;

function ip(...words) {
  return execFileSync('ip', words, { encoding: 'utf8' });
}

function addDevice() {
  ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'cable');
  ip('address', 'add', '10.77.0.11/16', 'dev', 'eth0');
  ip('link', 'set', 'cable', 'up');
  ip('link', 'set', 'eth0', 'up');
}

/** Counts what is told, and waits for the next. */
function watchKernel(onRuleset = () => {}) {
  const told = { rulesets: [], addresses: 0, routes: 0 };
  let wake = () => {};
  const events = openKernelEvents({
    onRuleset(by) {
      told.rulesets.push(by?.processName ?? null);
      onRuleset(by);
      wake();
    },
    onAddresses() {
      told.addresses += 1;
      wake();
    },
    onRoutes() {
      told.routes += 1;
      wake();
    },
    onFailure(error) {
      throw error;
    },
  });
  async function until(condition) {
    const late = setTimeout(() => {
      throw new Error(`not told: ${JSON.stringify(told)}`);
    }, boundMs);
    while (!condition())
      await new Promise((resolve) => {
        wake = resolve;
      });
    clearTimeout(late);
  }
  return { told, until, close: () => events.close() };
}

/** A process of its own that makes many transactions as fast as the kernel takes them. */
const flood = [process.execPath, [fileURLToPath(import.meta.url), 'transactions']];

function transactions() {
  const run = openNftables();
  run('add table ip flood; add set ip flood numbers { type mark; }');
  const count = Number(process.argv[3]);
  for (let i = 1; i <= count; i++) run(`add element ip flood numbers { ${i} }`);
}

async function rulesets() {
  const run = openNftables();
  const { told, until, close } = watchKernel();
  run('add table ip own');
  // Read in the same turn as the rule sets', and told after them.
  ip('address', 'add', '10.77.0.12/32', 'dev', 'eth0');
  await until(() => told.addresses > 0);
  const own = [...told.rulesets];
  execFileSync('nft', ['add', 'table', 'ip', 'other']);
  await until(() => told.rulesets.length === own.length + 1);
  execFileSync('nft', ['flush', 'ruleset']);
  await until(() => told.rulesets.length === own.length + 2);
  await close();
  return { own, others: told.rulesets.slice(own.length) };
}

async function addresses() {
  const { told, until, close } = watchKernel();
  const raised = [];
  for (const words of [
    ['address', 'add', '10.77.0.7/32', 'dev', 'lo'],
    ['address', 'delete', '10.77.0.7/32', 'dev', 'lo'],
    ['link', 'set', 'cable', 'down'],
    ['link', 'set', 'eth0', 'down'],
    ['link', 'delete', 'eth0'],
  ]) {
    const before = told.addresses;
    ip(...words);
    await until(() => told.addresses > before);
    raised.push(words.slice(0, 2).join(' '));
  }
  await close();
  return { raised, rulesets: told.rulesets };
}

async function routes() {
  const { told, until, close } = watchKernel();
  const raised = [];
  for (const words of [
    ['route', 'add', '10.99.0.0/16', 'via', '10.77.0.1'],
    ['rule', 'add', 'pref', '99', 'fwmark', '5', 'lookup', '5'],
    ['rule', 'delete', 'pref', '99'],
    ['route', 'delete', '10.99.0.0/16'],
  ]) {
    const before = told.routes;
    ip(...words);
    await until(() => told.routes > before);
    raised.push(words.slice(0, 2).join(' '));
  }
  await close();
  return { raised, addresses: told.addresses };
}

async function flooded() {
  const count = 500;
  const run = openNftables();
  const listed = () => JSON.parse(run('list set ip flood numbers')).nftables.flatMap((each) => each.set?.elem ?? []);
  const at = [];
  let seen = 0;
  const told = watchKernel(() => at.push(performance.now()));
  const looking = watchKernel(() => {
    seen = listed().length;
  });
  const [command, words] = flood;
  const ended = once(spawn(command, [...words, count], { stdio: 'inherit' }), 'exit');
  await looking.until(() => seen === count);
  await ended;
  await Promise.all([told.close(), looking.close()]);
  // A timer may fire a millisecond early.
  return { seen, few: at.length < count / 4, apart: at.slice(1).every((time, i) => time - at[i] >= 19) };
}

async function overrun() {
  const run = openNftables();
  const tables = () => JSON.parse(run('list tables')).nftables.flatMap((each) => each.table?.name ?? []);
  let seen = [];
  const { told, until, close } = watchKernel(() => {
    seen = tables();
  });
  const [command, words] = flood;
  // Nothing is read meanwhile.
  execFileSync(command, [...words, 3000]);
  await until(() => told.rulesets.length > 0);
  // The kernel still tells nothing: what it queued before is not read to its end.
  execFileSync('nft', ['add', 'table', 'ip', 'other']);
  await until(() => seen.includes('other'));
  // Once all is read, it tells again.
  while (told.rulesets.at(-1) !== 'nft') {
    const before = told.rulesets.length;
    execFileSync('nft', ['flush', 'ruleset']);
    await until(() => told.rulesets.length > before);
  }
  await close();
  return { first: told.rulesets[0], last: told.rulesets.at(-1) };
}

const arpIgnore = '/proc/sys/net/ipv4/conf/all/arp_ignore';
const arpAnnounce = '/proc/sys/net/ipv4/conf/all/arp_announce';
const dropMulticast = '/proc/sys/net/ipv4/conf/eth0/drop_unicast_in_l2_multicast';

/** All of the host that is set up for a service. */
function hostState() {
  const listed = JSON.parse(ip('-json', '-4', 'address', 'show'));
  return {
    sysctls: [arpIgnore, arpAnnounce, dropMulticast].map((path) => readFileSync(path, 'utf8').trim()),
    addresses: listed.flatMap(({ ifname, addr_info }) => addr_info.map(({ local }) => `${local} ${ifname}`)).sort(),
    joined: readFileSync('/proc/net/igmp', 'utf8').includes('070107EF'),
  };
}

function memoryStore() {
  const values = new Map();
  return {
    read: (name) => values.get(name) ?? null,
    write: (name, value) => void values.set(name, value),
    remove: (name) => void values.delete(name),
  };
}

const needs = (last) => ({
  device: 'eth0',
  serviceAddress: { family: 4, value: 0x0a4d0000n + last },
  group: { family: 4, value: 0xef070100n + last },
});

function repairs() {
  const store = memoryStore();
  const host = createLinuxHost(store);
  const before = hostState();
  const unprepared = host.repair();
  host.prepare(needs(7n));
  const prepared = hostState();
  const attempts = {
    nothing: () => {},
    'arp_ignore 0': () => writeFileSync(arpIgnore, '0'),
    'arp_ignore 8': () => writeFileSync(arpIgnore, '8'),
    'arp_ignore 3': () => writeFileSync(arpIgnore, '3'),
    'arp_announce 1': () => writeFileSync(arpAnnounce, '1'),
    'drop_unicast 0': () => writeFileSync(dropMulticast, '0'),
    'group gone': () => ip('address', 'delete', '239.7.1.7/32', 'dev', 'eth0'),
    'group not joined': () => {
      ip('address', 'delete', '239.7.1.7/32', 'dev', 'eth0');
      ip('address', 'add', '239.7.1.7/32', 'dev', 'eth0');
    },
    'service gone': () => ip('address', 'delete', '10.77.0.7/32', 'dev', 'lo'),
    'device down': () => ip('link', 'set', 'eth0', 'down'),
    'device up': () => ip('link', 'set', 'eth0', 'up'),
    'lo flushed': () => ip('address', 'flush', 'dev', 'lo'),
    'device gone': () => ip('link', 'delete', 'eth0'),
    'device back': addDevice,
    everything() {
      writeFileSync(arpIgnore, '0');
      writeFileSync(arpAnnounce, '0');
      ip('address', 'delete', '239.7.1.7/32', 'dev', 'eth0');
      ip('address', 'delete', '10.77.0.7/32', 'dev', 'lo');
      ip('address', 'add', '127.0.0.1/8', 'dev', 'lo');
    },
  };
  const put = {};
  const again = [];
  const { PATH } = process.env;
  for (const [name, attempt] of Object.entries(attempts)) {
    attempt();
    put[name] = host.repair();
    // Without a command to be found.
    process.env.PATH = '/nowhere';
    again.push(...host.repair());
    process.env.PATH = PATH;
  }
  const repaired = hostState();
  // As the next agent does after this one was killed.
  createLinuxHost(store).undo();
  return { unprepared, put, again, before, prepared, repaired, after: hostState() };
}

/** Datagrams to a service address that is set up, with no rule in the kernel: one in a frame to the group, then one in a frame to this host alone. */
async function unruled() {
  const host = createLinuxHost(memoryStore());
  host.prepare(needs(7n));
  const cable = openPacketSocket('cable', 0x0800, () => {});
  const server = createSocket('udp4');
  await new Promise((resolve) => server.bind(9, '10.77.0.7', resolve));
  const received = [];
  const last = new Promise((resolve) => {
    server.on('message', (text) => {
      received.push(text.toString());
      if (received.at(-1) === 'to this host') resolve();
    });
  });
  const [{ address: own }] = JSON.parse(ip('-json', 'link', 'show', 'eth0'));
  cable.send(datagramFrame('01:00:5e:07:01:07', 'to the group'));
  cable.send(datagramFrame(own, 'to this host'));
  await last;
  server.close();
  await cable.close();
  host.undo();
  return received;
}

/** From 10.77.0.200 to port 9 of 10.77.0.7, without a checksum of UDP. */
function datagramFrame(mac, text) {
  const header = Buffer.from('4500000000004000401100000a4d00c80a4d0007', 'hex');
  header.writeUInt16BE(28 + text.length, 2);
  writeChecksum(header, 10, internetChecksum(header));
  const udp = Buffer.from([0x9c, 0x40, 0, 9, 0, 8 + text.length, 0, 0]);
  const link = Buffer.from(`${mac.replaceAll(':', '')}0200000000630800`, 'hex');
  return Buffer.concat([link, header, udp, Buffer.from(text)]);
}

/** Two agents on one host need the same sysctls, and the one that set them stops first. */
function shared() {
  const before = hostState();
  const first = createLinuxHost(memoryStore());
  first.prepare(needs(7n));
  const store = memoryStore();
  const second = createLinuxHost(store);
  second.prepare(needs(8n));
  first.undo();
  const put = second.repair();
  const recorded = JSON.parse(new TextDecoder().decode(store.read('host-changes.json'))).map(({ kind }) => kind);
  const { sysctls } = hostState();
  second.undo();
  return { put, recorded, sysctls, before, after: hostState() };
}

/** A service address that is routed here. */
function routed() {
  const store = memoryStore();
  const host = createLinuxHost(store);
  const bind = '/proc/sys/net/ipv4/ip_nonlocal_bind';
  const state = () => ({
    ...hostState(),
    bind: readFileSync(bind, 'utf8').trim(),
    rules: ip('rule')
      .split('\n')
      .filter((line) => line.includes('10.77.0.7')).length,
    routes: ip('route', 'show', 'table', 'all', '10.77.0.7/32')
      .split('\n')
      .filter(Boolean)
      .map((line) => line.trim()),
  });
  const before = state();
  const { group: _, ...others } = needs(7n);
  host.prepare({ ...others, group: null, unmarkedFrom: ['mch-web'] });
  const prepared = state();
  const attempts = {
    nothing: () => {},
    'rules flushed': () => ip('rule', 'flush'),
    'one rule gone': () => ip('rule', 'delete', 'pref', '7753'),
    'the address made anew': () => {
      ip('address', 'delete', '10.77.0.7/32', 'dev', 'lo');
      ip('address', 'add', '10.77.0.7/32', 'dev', 'lo');
    },
    'service gone': () => ip('address', 'delete', '10.77.0.7/32', 'dev', 'lo'),
    'local to all': () => ip('route', 'add', 'local', '10.77.0.7/32', 'dev', 'lo', 'table', 'local'),
    'routes gone': () => ip('route', 'flush', 'table', '1835270145'),
    'bind refused': () => writeFileSync(bind, '0'),
  };
  const put = {};
  const again = [];
  const { PATH } = process.env;
  for (const [name, attempt] of Object.entries(attempts)) {
    attempt();
    put[name] = host.repair();
    process.env.PATH = '/nowhere';
    again.push(...host.repair());
    process.env.PATH = PATH;
  }
  const repaired = state();
  createLinuxHost(store).undo();
  return { put, again, before, prepared, repaired, after: state() };
}

const steps = { routed, unruled, rulesets, addresses, routes, flooded, overrun, repairs, shared };
const name = process.argv[2];
if (name === 'transactions') {
  transactions();
} else {
  ip('link', 'set', 'lo', 'up');
  addDevice();
  process.stdout.write(`${JSON.stringify(await steps[name]())}\n`);
}
