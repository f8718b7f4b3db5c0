// Clusters of agents in virtual time, larger than a machine runs: the product's own state machines, drivers and wire format on simulated kernels and networks.
import { setImmediate } from 'node:timers/promises';
import { propose, realControl, startAgent } from '../dist/sim/agent.js';
import { fair, setClimate } from '../dist/sim/faults.js';
import { Timeline } from '../dist/sim/timeline.js';
import { World } from '../dist/sim/world.js';

const formingMsMax = 20_000;
const movingMsMax = 20_000;
const stepMs = 5;

/**
 * What agents send: left alone, and while a policy that doubles the weight of one of them is put in force. `ms` is virtual time; `cpuMs` is this process's, with the simulated networks and kernels in it: more than
 * the agents' own decisions take.
 * @param {number} replicas
 * @param {number} idleMs for how long they are left alone, virtual milliseconds
 * @returns {Promise<{ idle: Sent, move: Sent }>}
 * @typedef {{ multicasts: number, unicasts: number, bytes: number, ms: number, cpuMs: number }} Sent by all agents together; a datagram to the group counts once; bytes without headers and signatures
 */
export async function simulatedCluster(replicas, idleMs) {
  const sent = { multicasts: 0, unicasts: 0, bytes: 0 };
  const timeline = new Timeline(1, setImmediate);
  const policy = { strategy: 'equal', handoff: 'forward', drainDeadline: 60 };
  const world = new World(timeline, {
    ...{ replicas, voters: 3, clients: 0, mask: '0.0.0.255', policy, namePrefix: 'r' },
    expect: { handoffs: new Set(['forward']), drainMs: 60_000 },
    createControl: realControl,
  });
  counted(world.controlLan, sent);
  setClimate(world, fair);
  for (const host of world.hosts) timeline.after(timeline.random.between(0, 100), () => startAgent(world, host));
  await until(world, () => true, formingMsMax);
  const idle = await span(world, sent, () => timeline.run(idleMs));
  const weights = Object.fromEntries(world.names.map((name, i) => [name, i === 0 ? 2 : 1]));
  const changed = { ...policy, strategy: 'weighted', weights };
  const isInForce = () => world.hosts.every(({ agent }) => agent.control.view().policy?.strategy === 'weighted');
  const move = await span(world, sent, async () => {
    for (const host of world.hosts) propose(world, host, { kind: 'policy', policy: changed });
    await until(world, isInForce, movingMsMax);
  });
  for (const host of world.hosts) host.kill();
  return { idle, move };
}

async function span({ timeline }, sent, pass) {
  const before = { ...sent };
  const begin = timeline.now;
  const cpu = process.cpuUsage();
  await pass();
  const { user, system } = process.cpuUsage(cpu);
  if (timeline.violation !== null) throw new Error(`simulation: ${timeline.violation.what}`);
  const grown = Object.entries(sent).map(([name, value]) => [name, value - before[name]]);
  return { ...Object.fromEntries(grown), ms: timeline.now - begin, cpuMs: (user + system) / 1000 };
}

async function until(world, isSo, msMax) {
  const end = world.timeline.now + msMax;
  while (world.ailment() !== null || !isSo()) {
    if (world.timeline.now > end) throw new Error(`simulation: ${world.ailment() ?? 'the policy is not in force'}`);
    if (!(await world.timeline.run(stepMs))) throw new Error(`simulation: ${world.timeline.violation.what}`);
  }
}

function counted(lan, sent) {
  const openFor = lan.openFor.bind(lan);
  lan.openFor = (host, life) => {
    const network = openFor(host, life);
    return {
      multicast(datagram) {
        sent.multicasts++;
        sent.bytes += datagram.length;
        network.multicast(datagram);
      },
      unicast(peer, datagram) {
        sent.unicasts++;
        sent.bytes += datagram.length;
        network.unicast(peer, datagram);
      },
      close: () => network.close(),
    };
  };
}
