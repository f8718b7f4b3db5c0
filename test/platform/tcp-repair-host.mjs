// Runs inside a network namespace of its own, or ("denied") where it has no say over the network: tells what became of connections that were frozen.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, createServer, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isInRepair } from '../../dist/platform/descriptor-passing.js';
import { close, duplicate, getsockopt, linux, sendSome, setsockopt } from '../../dist/platform/libc.js';
import {
  closeSilently,
  descriptorOf,
  exportSocket,
  goLive,
  importSocket,
  isUnchanged,
  reset,
  thaw,
} from '../../dist/platform/tcp-repair.js';

const SO_BUF_LOCK = 72;
const SO_LOCK_FILTER = 44;
const IPPROTO_TCP = 6;
const TCP_NOTSENT_LOWAT = 25;
/** More than the window of a client that does not read, by far. */
const unsentTextBytes = 400_000;

const cases = {
  denied: async () => {
    const { accepted } = await connection('127.0.0.1');
    try {
      return exportSocket(descriptorOf(accepted));
    } catch ({ code, message, remedy }) {
      return { code, message, remedy };
    }
  },
  async roundTrip() {
    const results = {};
    for (const host of ['127.0.0.1', '::1', '::']) results[host] = await roundTrip(host);
    results.bare = await roundTrip('127.0.0.1', 0);
    return results;
  },
  async halfClosed() {
    const [ours, theirs, both] = [await connection('::1'), await connection('::1'), await connection('::1')];
    for (const { client, accepted } of [ours, theirs, both]) for (const each of [client, accepted]) each.resume();
    ours.accepted.end();
    theirs.client.end();
    both.client.destroy();
    await Promise.all([once(ours.client, 'end'), once(theirs.accepted, 'end'), once(both.accepted, 'end')]);
    const reasons = [ours, theirs].map(({ accepted }) => exportSocket(descriptorOf(accepted)).reason);
    ours.client.write('still heard');
    return { reasons, heard: await read(ours.accepted), closed: descriptorOf(destroyed(both.accepted)) };
  },
  async locked() {
    const { client, accepted } = await connection('127.0.0.1');
    const fd = descriptorOf(accepted);
    // From now on nobody may attach a filter.
    setsockopt(fd, linux.SOL_SOCKET, SO_LOCK_FILTER, Uint8Array.of(1, 0, 0, 0));
    let refused = null;
    try {
      exportSocket(fd);
    } catch ({ message }) {
      refused = message;
    }
    const inRepair = isInRepair(fd);
    client.write('to the server');
    accepted.write('to the client');
    return { refused, inRepair, heard: [await read(accepted, 13), await read(client, 13)] };
  },
  async thaw() {
    const { client, accepted, server, port } = await connection('127.0.0.1');
    await written(client, 'before');
    const fd = descriptorOf(accepted);
    const { ok, value } = exportSocket(fd);
    await written(client, ' during');
    const unchanged = isUnchanged(fd, value);
    thaw(fd, value);
    accepted.write('after');
    const heard = [await read(accepted, 13), await read(client)];
    const { value: later } = exportSocket(fd);
    const changed = [isUnchanged(fd, value), isUnchanged(fd, later)];
    thaw(fd, later);
    close(fd);
    return { ok, heard, unchanged, changed, restarted: await restarted(server, port) };
  },
  async restarted() {
    const { client, accepted, server, port } = await connection('127.0.0.1');
    const moved = move(accepted);
    const fd = descriptorOf(moved);
    const locks = new Uint8Array(4);
    getsockopt(fd, linux.SOL_SOCKET, SO_BUF_LOCK, locks);
    close(fd);
    moved.write('alive');
    return { heard: await read(client), locks: [...locks], restarted: await restarted(server, port) };
  },
  async silent() {
    const { client, accepted, port } = await connection('127.0.0.1');
    await written(client, 'never read');
    const seen = [];
    for (const event of ['end', 'error', 'close']) client.on(event, () => seen.push(event));
    const fd = descriptorOf(accepted);
    // The Node socket holds a descriptor of the same connection still.
    accepted.on('error', () => {});
    const before = sentPackets();
    closeSilently(fd);
    accepted.destroy();
    const reader = connect(port, '127.0.0.1');
    await once(reader, 'connect');
    // Three packets of the new connection; nothing else.
    return { seen, packets: sentPackets() - before };
  },
  async unsent() {
    const { client, accepted } = await connection('127.0.0.1');
    const fd = descriptorOf(accepted);
    // The client does not read: what its window does not allow waits here.
    const text = letters(unsentTextBytes);
    for (let at = 0, taken = 0; at < text.length; at += taken) {
      taken = sendSome(fd, Buffer.from(text.slice(at, at + 32_768), 'latin1'));
      if (taken === null) throw new Error(`the kernel took ${at} bytes`);
    }
    const { value } = exportSocket(fd);
    accepted.destroy();
    closeSilently(fd);
    // Of the host that takes it, which keeps less unsent than waits.
    setSysctl('net.ipv4.tcp_notsent_lowat', '4096');
    const imported = importSocket(value);
    const frozen = unsentLimit(imported);
    goLive(imported, value);
    const limits = [frozen, unsentLimit(imported)];
    return { unsent: value.unsentBytes > 150_000, whole: (await read(client, text.length)) === text, limits };
  },
  async reset() {
    const results = [];
    for (const isLive of [false, true]) {
      const { client, accepted } = await connection('127.0.0.1');
      const fd = descriptorOf(accepted);
      const { value } = exportSocket(fd);
      accepted.destroy();
      closeSilently(fd);
      const imported = importSocket(value);
      // An application holds it too.
      const adopted = duplicate(imported);
      if (isLive) goLive(imported, value);
      const heard = once(client.resume(), 'end').catch(({ code }) => code);
      reset(imported);
      results.push({ heard: await heard, adopted: isInRepair(adopted) });
      close(adopted);
    }
    return results;
  },
  async refused() {
    const { accepted } = await connection('127.0.0.1');
    const fd = descriptorOf(accepted);
    const { value } = exportSocket(fd);
    thaw(fd, value);
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    const tried = (change) => {
      try {
        return importSocket({ ...value, ...change });
      } catch ({ code, message }) {
        return { code, message };
      }
    };
    const elsewhere = tried({ local: { family: 4, value: 0x0a000001n } });
    const twice = tried({});
    return { elsewhere, twice, left: open() - before };
  },
};

setSysctl('net.ipv4.tcp_rmem', '4096 131072 6291456');
process.stdout.write(
  JSON.stringify(await cases[process.argv[2]](), (_, value) => (typeof value === 'bigint' ? String(value) : value)),
);
process.exit();

/** With or without options; the host that imports would agree to them all. */
async function roundTrip(host, options = 1) {
  const allowed = (value) => {
    for (const option of ['timestamps', 'window_scaling', 'sack']) setSysctl(`net.ipv4.tcp_${option}`, value);
  };
  allowed(options);
  const { client, accepted } = await connection(host);
  allowed(1);
  await written(client, 'unread');
  const fd = descriptorOf(accepted);
  const { value: first } = exportSocket(fd);
  accepted.destroy();
  closeSilently(fd);
  const imported = importSocket(first);
  const { value: second } = exportSocket(imported);
  // The timestamp goes on; `clock` judges it.
  const differing = Object.keys(first).filter(
    (key) => key !== 'timestamp' && JSON.stringify(plain(first[key])) !== JSON.stringify(plain(second[key])),
  );
  // It has been frozen once more, to look at it.
  thaw(imported, second);
  const moved = new Socket({ fd: imported });
  moved.write('moved');
  client.write(' and more');
  const heard = [await read(moved, 15), await read(client)];
  // Read with another scale than was agreed, a window is tiny or huge.
  const { send } = exportSocket(descriptorOf(client)).value.window;
  const { timestamp, sendScale, receiveScale, selectiveAcks, local } = first;
  const clock = timestamp === null ? null : second.timestamp - timestamp >= 0 && second.timestamp - timestamp < 10_000;
  return {
    differing,
    heard,
    clock,
    scales: [sendScale, receiveScale],
    selectiveAcks,
    window: send > 30_000 && send < 1_000_000,
    family: local.family,
  };
}

function move(accepted) {
  const fd = descriptorOf(accepted);
  const { value } = exportSocket(fd);
  accepted.destroy();
  closeSilently(fd);
  const imported = importSocket(value);
  goLive(imported, value);
  return new Socket({ fd: imported });
}

async function connection(host) {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, host);
  await once(server, 'listening');
  const { port } = server.address();
  const client = connect({ port, host: host === '::' ? '127.0.0.1' : host, allowHalfOpen: true });
  const [accepted] = await once(server, 'connection');
  for (const socket of [client, accepted]) socket.on('error', () => {});
  client.pause();
  if (client.connecting) await once(client, 'connect');
  return { client, accepted, server, port };
}

/** Whether a server that was stopped can listen again while a connection of it lives. */
async function restarted(server, port) {
  server.close();
  const again = createServer().listen(port, '127.0.0.1');
  const [event] = await Promise.race([
    once(again, 'listening').then(() => ['listening']),
    once(again, 'error').then(([error]) => [error.code]),
  ]);
  return event;
}

async function read(socket, bytes = 1) {
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  socket.resume();
  while (text.length < bytes)
    await Promise.race([
      once(socket, 'data'),
      sleep(5000, null, { ref: false }).then(() => Promise.reject(new Error(text))),
    ]);
  return text;
}

/** On loopback what is written is in the other end's queue on return. */
async function written(socket, text) {
  await new Promise((done) => socket.write(text, done));
}

/** Text that is wrong wherever a part of it is missing. */
function letters(bytes) {
  let text = '';
  for (let at = 0; text.length < bytes; at++) text += `${at} `;
  return text.slice(0, bytes);
}

function unsentLimit(fd) {
  const value = new Uint8Array(4);
  getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, value);
  return new DataView(value.buffer).getInt32(0, true);
}

function destroyed(socket) {
  return socket.destroy();
}

function plain(value) {
  return typeof value === 'object' && value && 'value' in value
    ? String(value.value)
    : value instanceof Uint8Array
      ? [...value]
      : value;
}

function sentPackets() {
  const [names = '', numbers = ''] = readFileSync('/proc/self/net/snmp', 'latin1')
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'));
  return (
    Number(numbers.split(' ')[names.split(' ').indexOf('OutSegs')]) +
    Number(numbers.split(' ')[names.split(' ').indexOf('OutRsts')])
  );
}

function setSysctl(name, value) {
  if (process.argv[2] !== 'denied') execFileSync('sysctl', ['-qw', `${name}=${value}`]);
}
