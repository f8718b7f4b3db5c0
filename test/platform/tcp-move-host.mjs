// Hosts "a" and "b" share one address on one link with a client "c". A stream runs both ways between "a" and "c"; it is moved to "b", and goes on.
// Runs inside network and mount namespaces of its own, with an empty /run.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeSocketImage, encodeSocketImage } from '../../dist/handoff/socket-image.js';
import { close } from '../../dist/platform/libc.js';
import { openNftables } from '../../dist/platform/libnftables.js';
import { openPacketHold } from '../../dist/platform/packet-hold.js';

/** What frames for the hold are addressed to. */
const destination = '02:00:00:00:00:77';

import {
  closeSilently,
  descriptorOf,
  exportSocket,
  goLive,
  importSocket,
  thaw,
} from '../../dist/platform/tcp-repair.js';

const port = 7000;
const services = { 4: '10.9.0.100', 6: 'fd00:9::100' };
const groupMac = '01:00:5e:09:00:64';
const run = (command) => execFileSync('sh', ['-c', command], { encoding: 'utf8' });

const role = process.argv[2];
if (role === 'holder') serveMessages(holder());
else if (role === 'client') serveMessages(client());
else process.stdout.write(JSON.stringify(await allCases()));

async function allCases() {
  buildNetwork();
  // Before any move: nobody but "a" takes the frames.
  const thawed = await uncut();
  const moves = [];
  for (const family of [4, 6]) for (const full of [false, true]) moves.push(await moved(family, full));
  return { moves, uncut: thawed };
}

async function moved(family, full) {
  const [a, b, c] = [roleIn('a', 'holder'), roleIn('b', 'holder'), roleIn('c', 'client')];
  try {
    await a.ask('start', family);
    await c.ask('start', family);
    const firstSequence = await a.ask('firstSequence');
    await Promise.all([a.ask('flow', true), c.ask('flow', true)]);
    await untilMoved(a, c, 30e6);
    if (full) {
      await Promise.all([a.ask('reading', false), c.ask('reading', false)]);
      await untilStill();
    }
    const before = Object.fromEntries(['a', 'b', 'c'].map((each) => [each, counters(each)]));
    const kept = tcpOf('a', family);
    await b.ask('hold');
    await a.ask('row', 'drop');
    // A commit is no barrier for packets on their way.
    await sleep(5);
    const exported = await a.ask('export', firstSequence);
    const imported = await b.ask('import', exported);
    const keeps = tcpOf('b', family);
    await Promise.all([b.ask('flow', true), c.ask('flow', true)]);
    await untilMoved(b, c, 30e6);
    const ends = [await b.ask('finish'), await c.ask('finish')];
    const after = Object.fromEntries(['a', 'b', 'c'].map((each) => [each, counters(each)]));
    const grew = (each, counter) => after[each][counter] - before[each][counter];
    return {
      ...{ family, full, kept, keeps, queues: exported.queues, ...imported },
      exact: ends.map((end) => end.exact),
      streams: [ends[1].received - ends[0].sent, ends[0].received - ends[1].sent],
      resets: ['a', 'b', 'c'].map((each) => grew(each, 'OutRsts')),
      timeouts: ['b', 'c'].map((each) => grew(each, 'TCPTimeouts')),
    };
  } finally {
    for (const each of [a, b, c]) await each.end();
  }
}

/** Frozen and thawed while packets still come: what was said, and whether the stream went on. */
async function uncut() {
  const [a, c] = [roleIn('a', 'holder'), roleIn('c', 'client')];
  try {
    await a.ask('start', 4);
    await c.ask('start', 4);
    await a.ask('firstSequence');
    await Promise.all([a.ask('flow', true), c.ask('flow', true)]);
    await untilMoved(a, c, 10e6);
    const said = await a.ask('freezeAndThaw');
    await Promise.all([a.ask('flow', true), c.ask('flow', true)]);
    await untilMoved(a, c, 10e6);
    const ends = [await a.ask('finish'), await c.ask('finish')];
    return {
      said: [...new Set(said)],
      exact: ends.map((end) => end.exact),
      streams: [ends[1].received - ends[0].sent, ends[0].received - ends[1].sent],
    };
  } finally {
    for (const each of [a, c]) await each.end();
  }
}

function buildNetwork() {
  run('ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up');
  for (const [index, each] of ['a', 'b', 'c'].entries()) {
    run(`ip netns add ${each} && ip link add port-${each} type veth peer name eth0 netns ${each}
      ip link set port-${each} master br0 up`);
    // A long time-out: what expires was lost, however slow this machine is.
    run(`ip netns exec ${each} sh -ec 'ip link set lo up; ip link set eth0 up
      sysctl -qw net.ipv4.tcp_rmem="4096 131072 6291456" net.ipv4.tcp_wmem="4096 16384 4194304"
      ip addr add 10.9.0.${index + 1}/24 dev eth0; ip addr add fd00:9::${index + 1}/64 dev eth0 nodad
      ip route replace 10.9.0.0/24 dev eth0 scope link rto_min 3s
      ip route add fd00:9::/64 dev eth0 metric 1 rto_min 3s'`);
    if (each === 'c') {
      for (const service of Object.values(services)) {
        run(`ip netns exec c ip neigh replace ${service} lladdr ${groupMac} dev eth0 nud permanent`);
      }
    } else {
      run(`ip netns exec ${each} sh -ec 'ip addr add 10.9.0.100/32 dev lo; ip addr add fd00:9::100/128 dev lo nodad'`);
    }
  }
}

function roleIn(namespace, kind) {
  const words = ['netns', 'exec', namespace, process.execPath, process.argv[1], kind];
  const child = spawn('ip', words, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: 'advanced' });
  const exited = once(child, 'exit');
  return {
    async ask(what, argument) {
      child.send([what, argument]);
      const [answer] = await Promise.race([
        once(child, 'message'),
        exited.then(() => Promise.reject(new Error(`${namespace} is gone`))),
      ]);
      if (answer?.failed) throw new Error(`${namespace} ${what}: ${answer.failed}`);
      return answer;
    },
    async end() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

function serveMessages(answers) {
  process.on('message', async ([what, argument]) => {
    try {
      process.send((await answers[what](argument)) ?? null);
    } catch (error) {
      process.send({ failed: error.stack });
    }
  });
}

async function untilMoved(first, second, bytes) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const progress = await Promise.all([first.ask('progress'), second.ask('progress')]);
    if (progress.every((each) => each > bytes)) return;
    if (Date.now() > deadline) throw new Error(`no progress: ${progress}`);
    await sleep(20);
  }
}

/** Until the queues of "a" are full: they have not grown for a while. */
async function untilStill() {
  const queues = () => run('ip netns exec a ss -tnH state established');
  for (let last = '', same = 0; same < 4; await sleep(100)) {
    const now = queues();
    same = now === last ? same + 1 : 0;
    last = now;
  }
}

/** What ss tells of the connection, as far as it must stay the same. */
function tcpOf(namespace, family) {
  const said = run(`ip netns exec ${namespace} ss -tinoH${family} state established sport = :${port}`);
  return {
    options: /\b(ts)\b/.test(said) && /\b(sack)\b/.test(said),
    scale: /wscale:(\S+)/.exec(said)?.[1],
    mss: / mss:(\d+)/.exec(said)?.[1],
  };
}

function counters(namespace) {
  const values = {};
  const files = run(`ip netns exec ${namespace} cat /proc/net/snmp /proc/net/netstat`).trim().split('\n');
  for (let i = 0; i + 1 < files.length; i += 2) {
    const numbers = files[i + 1].split(' ');
    for (const [at, key] of files[i].split(' ').entries()) values[key] = Number(numbers[at]);
  }
  return values;
}

function holder() {
  let server;
  let stream;
  let socket;
  let hold;
  // Within this process: what passes while `nft` starts makes what still waits too old for the receiver (PAWS, RFC 7323, section 5.2).
  const nft = openNftables();
  nft(`table netdev m { }; delete table netdev m
    table netdev m {
      chain row { drop; }
      chain in { type filter hook ingress device eth0 priority 0; policy accept; tcp dport ${port} goto row; }
    }`);
  const row = (rule) => void nft(`flush chain netdev m row; add rule netdev m row ${rule}`);
  return {
    async start(family) {
      row('meta pkttype set unicast accept');
      server = createServer().listen(port, services[family]);
      await once(server, 'listening');
      server.once('connection', (accepted) => {
        socket = accepted;
        stream = streamOn(socket, 0, 0);
      });
    },
    async firstSequence() {
      if (!socket) await once(server, 'connection');
      const fd = descriptorOf(socket);
      const { value } = exportSocket(fd);
      thaw(fd, value);
      close(fd);
      return value.sendSequence;
    },
    flow: (on) => stream.flow(on),
    reading: (on) => stream.reading(on),
    progress: () => stream.progress(),
    row,
    hold() {
      hold = openPacketHold('mchold', [destination]);
      row(`meta pkttype set unicast ether daddr set ${destination} fwd to mchold`);
    },
    freezeAndThaw() {
      const fd = descriptorOf(socket);
      const seen = Array.from({ length: 5 }, () => {
        const { ok, value, reason } = exportSocket(fd);
        if (ok) thaw(fd, value);
        return ok ? 'whole' : reason;
      });
      close(fd);
      return seen;
    },
    export(firstSequence) {
      stream.flow(false);
      const fd = descriptorOf(socket);
      const { ok, value, reason } = exportSocket(fd);
      if (!ok) throw new Error(reason);
      const { received } = stream.take();
      socket.destroy();
      closeSilently(fd);
      const sent = (value.sendSequence + value.sendQueue.length - firstSequence) >>> 0;
      const queues = [value.sendQueue.length, value.unsentBytes, value.receiveQueue.length];
      return { image: encodeSocketImage(value), queues, sent, received };
    },
    import({ image, sent, received }) {
      const { value } = decodeSocketImage(image);
      const fd = importSocket(value);
      goLive(fd, value);
      socket = new Socket({ fd });
      stream = streamOn(socket, sent, received);
      const drains = [hold.drain()];
      row('meta pkttype set unicast accept');
      drains.push(hold.drain());
      return { held: drains[0] + drains[1], dropped: hold.dropped() };
    },
    finish: () => stream.finish(),
  };
}

function client() {
  let stream;
  return {
    async start(family) {
      let socket = null;
      // The server may not listen yet.
      while (!socket) socket = await connected(services[family]);
      stream = streamOn(socket, 0, 0);
    },
    flow: (on) => stream.flow(on),
    reading: (on) => stream.reading(on),
    progress: () => stream.progress(),
    finish: () => stream.finish(),
  };
}

function connected(service) {
  const socket = connect(port, service);
  return once(socket, 'connect').then(
    () => socket,
    () => sleep(20).then(() => null),
  );
}

/** Writes and checks a stream of which every byte follows from its place. */
function streamOn(socket, sentBefore, receivedBefore) {
  const pattern = Buffer.alloc(1_000_003);
  for (let i = 0, state = 1; i < pattern.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    pattern[i] = state >>> 24;
  }
  let [sent, received, begun, exact, flowing, ended] = [sentBefore, receivedBefore, receivedBefore, true, false, false];
  const check = (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      const from = received % pattern.length;
      const length = Math.min(chunk.length - at, pattern.length - from);
      exact &&= pattern.compare(chunk, at, at + length, from, from + length) === 0;
      received += length;
      at += length;
    }
  };
  const pump = () => {
    while (flowing && !ended) {
      const from = sent % pattern.length;
      const chunk = pattern.subarray(from, from + 65536);
      sent += chunk.length;
      if (!socket.write(chunk)) return;
    }
  };
  socket
    .on('drain', pump)
    .on('data', check)
    .on('error', (error) => process.stderr.write(`${error}\n`));
  socket.pause();
  const end = once(socket, 'end');
  return {
    flow(on) {
      flowing = on;
      begun = received;
      this.reading(on);
      if (on && !socket.writableNeedDrain) pump();
    },
    reading: (on) => void (on ? socket.resume() : socket.pause()),
    progress: () => received - begun,
    /** What Node has read of the kernel's queue is in nobody else's hands; reading it emits "data". */
    take() {
      while (socket.read() !== null);
      return { received };
    },
    async finish() {
      ended = true;
      socket.end();
      await end;
      return { sent, received, exact };
    },
  };
}
