// Runs inside network and mount namespaces of its own, with an empty /run: what a neighbour "far" sends here is held, and let go on. Tells what arrived.

import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { openPacketHold } from '../../dist/platform/packet-hold.js';

/** What frames for the hold are addressed to. */
const destination = '02:00:00:00:00:77';

const run = (command) => execFileSync('sh', ['-ec', command], { encoding: 'utf8' });

const cases = {
  async held() {
    const results = {};
    for (const strict of [0, 1]) {
      for (const family of [4, 6]) {
        run(`sysctl -qw net.ipv4.conf.all.rp_filter=${strict}`);
        results[`${family}${strict ? ' strict' : ''}`] = await held(family);
      }
    }
    return results;
  },
  async many() {
    buildNetwork();
    const hold = forwarded();
    sendFrom('10.8.0.1', 20_000, 8);
    await untilQueued(20_000);
    const before = hold.dropped();
    sendFrom('10.8.0.1', 50, 8);
    const refused = hold.dropped() - before;
    return { before, refused, drained: hold.drain(), again: hold.drain() };
  },
  async kept() {
    buildNetwork();
    const hold = forwarded();
    // Nobody has these connections: what is let go on is answered by a reset each.
    const syn = (port) =>
      execFileSync('ip', [
        ...['netns', 'exec', 'far', process.execPath, '-e'],
        `require('node:net').connect({ port: 7000, host: '10.8.0.1', localPort: ${port} }).on('error', () => {});
         setTimeout(() => process.exit(), 300);`,
      ]);
    for (const port of [5001, 5002]) syn(port);
    await untilQueued(2);
    const client = { family: 4, value: 0x0a080002n };
    const flow = (clientPort) => ({ client, clientPort, servicePort: 7000 });
    const resets = () => Number(/TcpOutRsts +(\d+)/.exec(run('nstat -asz TcpOutRsts'))[1]);
    const steps = [];
    for (const flows of [[flow(5001), flow(5002)], [flow(5002)], [flow(5002)], []]) {
      const before = resets();
      steps.push({ drained: hold.drain(flows), resets: resets() - before });
    }
    return steps;
  },
  async chatter() {
    buildNetwork();
    const hold = openPacketHold('mchold', [destination]);
    run('ip route add 10.77.0.0/24 dev mchold && ip -6 route add fd00:77::/64 dev mchold');
    const socket = createSocket('udp4').bind(0, '10.8.0.1');
    await once(socket, 'listening');
    await new Promise((done) => socket.send('out', 9, '10.77.0.1', done));
    const drained = hold.drain();
    const link = run('ip -o link show mchold');
    hold.close();
    hold.close();
    return {
      drained,
      mtu: /mtu (\d+)/.exec(link)[1],
      queue: /qlen (\d+)/.exec(link)[1],
      after: run('ip -o link').includes('mchold'),
      closed: hold.drain(),
    };
  },
  errors() {
    const hold = openPacketHold('mchold', [destination]);
    const results = [refusalOf('mchold'), refusalOf('a-name-too-long-'), refusalOf('no/name')];
    hold.close();
    return results;
  },
  refusal: () => refusalOf('mchold'),
};

process.stdout.write(JSON.stringify(await cases[process.argv[2]]()));
process.exit();

async function held(family) {
  buildNetwork();
  const hold = forwarded();
  const [own, host] = family === 4 ? ['10.8.0.1', 'udp4'] : ['fd00:8::1', 'udp6'];
  const socket = createSocket(host).bind(7000, own);
  await once(socket, 'listening');
  const heard = [];
  socket.on('message', (message, { address }) => heard.push(`${message.length} ${address}`));
  sendFrom(own, 5, 1400);
  const early = heard.length;
  await untilQueued(5);
  const drained = hold.drain();
  while (heard.length < 5) await once(socket, 'message');
  const counted = { drained, early, heard: [...new Set(heard)], dropped: hold.dropped() };
  const stream = await streamed(hold, own);
  hold.close();
  socket.close();
  run('ip netns del far; nft delete table netdev m');
  return { ...counted, ...stream };
}

function buildNetwork() {
  run(`ip netns add far; ip link add near type veth peer name eth0 netns far
    ip link set near up; ip addr add 10.8.0.1/24 dev near; ip addr add fd00:8::1/64 dev near nodad
    ip netns exec far sh -ec 'ip link set lo up; ip link set eth0 up
      ip addr add 10.8.0.2/24 dev eth0; ip addr add fd00:8::2/64 dev eth0 nodad'`);
}

/** All that comes to port 7000 goes through the hold. */
function forwarded() {
  const hold = openPacketHold('mchold', [destination]);
  run(`nft '
    table netdev m {
      chain in {
        type filter hook ingress device near priority 0; policy accept
        meta l4proto { tcp, udp } th dport 7000 meta pkttype set unicast ether daddr set ${destination} counter fwd to mchold
      }
    }'`);
  return hold;
}

function sendFrom(to, count, bytes) {
  const script = `
    const socket = require('node:dgram').createSocket('${to.includes(':') ? 'udp6' : 'udp4'}');
    let left = ${count};
    const next = () => (left-- > 0 ? socket.send(Buffer.alloc(${bytes}), 7000, '${to}', next) : socket.close());
    next();`;
  execFileSync('ip', ['netns', 'exec', 'far', process.execPath, '-e', script]);
}

/** Until the rule has forwarded so many frames. */
async function untilQueued(count) {
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline) {
    const [, packets] = /counter packets (\d+)/.exec(run('nft list chain netdev m in')) ?? [];
    if (Number(packets) >= count) return;
  }
  throw new Error(`never ${count}`);
}

/** 20 MB from "far", every segment of which is held and let go on: what came, and whether it came in larger pieces than the link's. */
async function streamed(hold, own) {
  const server = createServer().listen(7000, own);
  await once(server, 'listening');
  const script = `
    const socket = require('node:net').connect(7000, '${own}');
    socket.end(Buffer.alloc(20e6, 'held and let go '));`;
  const sender = spawn('ip', ['netns', 'exec', 'far', process.execPath, '-e', script], { stdio: 'inherit' });
  let drained = 0;
  let open = true;
  const exited = once(sender, 'exit');
  const drain = () => {
    drained += hold.drain();
    if (open) setImmediate(drain);
  };
  drain();
  const [socket] = await once(server, 'connection');
  const hash = createHash('sha256');
  for await (const chunk of socket) hash.update(chunk);
  await exited;
  open = false;
  server.close();
  const wanted = createHash('sha256').update(Buffer.alloc(20e6, 'held and let go ')).digest('hex');
  return { exact: hash.digest('hex') === wanted, large: 20e6 / drained > 3000 };
}

function refusalOf(name) {
  try {
    openPacketHold(name, []).close();
    return 'opened';
  } catch ({ code, message, remedy }) {
    return { code, message, remedy };
  }
}
